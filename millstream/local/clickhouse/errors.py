"""Errors as ClickHouse reports them over HTTP: a code, a text, and the status that belongs to the code."""

import re

SYNTAX_ERROR = 62
READONLY = 164
SESSION_NOT_FOUND = 372
SESSION_IS_LOCKED = 373
AUTHENTICATION_FAILED = 516
BAD_ARGUMENTS = 36
SOCKET_TIMEOUT = 209
INVALID_SESSION_TIMEOUT = 374
ACCESS_DENIED = 497
UNKNOWN_COMPRESSION_METHOD = 89
CANNOT_DECOMPRESS = 271
NOT_IMPLEMENTED = 48
UNKNOWN_EXCEPTION = 1002

# ClickHouse's own mapping (exceptionCodeToHTTPStatus in its source); codes that are not listed are 500.
_STATUS_CODES = {
    # what cannot be parsed, and statements that are not well-formed
    400: (6, 25, 26, 27, 37, 38, 41, 53, 62, 72, 117, 123, 167, 168, 223, 374, 408),
    401: (194,),  # a password is required
    403: (192, 193, AUTHENTICATION_FAILED, ACCESS_DENIED),
    # tables, functions, columns, types, engines, databases, formats and settings that are unknown
    404: (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336),
    411: (381,),  # the body's length is required
    413: (229,),  # the query is too large
    501: (NOT_IMPLEMENTED,),
    503: (76, 209),  # a file cannot be opened, a socket timed out
}
_STATUS = {code: status for status, codes in _STATUS_CODES.items() for code in codes}
_CODE = re.compile(r"Code: (\d+)\.")


class ClickHouseError(Exception):
    """An error of the engine or of the HTTP interface. `code` is ClickHouse's, `status` the HTTP status."""

    def __init__(self, text: str, code: int | None = None) -> None:
        found = _CODE.search(text)
        self.code = code if code is not None else int(found[1]) if found else 1001
        self.status = _STATUS.get(self.code, 500)
        super().__init__(text)

    @classmethod
    def raised(cls, code: int, name: str, text: str) -> "ClickHouseError":
        """An error of the interface itself, worded as the engine words its own."""
        return cls(f"Code: {code}. DB::Exception: {text}. ({name})", code)
