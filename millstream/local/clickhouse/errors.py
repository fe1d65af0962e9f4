"""Errors as ClickHouse tells them over HTTP: a code, a text, and the status that belongs to the code."""

import re

SYNTAX_ERROR = 62
READONLY = 164
SESSION_NOT_FOUND = 372
SESSION_IS_LOCKED = 373
AUTHENTICATION_FAILED = 516
BAD_ARGUMENTS = 36
UNKNOWN_COMPRESSION_METHOD = 89
CANNOT_DECOMPRESS = 271
NOT_IMPLEMENTED = 48

# ClickHouse's own mapping (exceptionCodeToHTTPStatus in its source); codes that are not listed are 500.
_STATUS_CODES = {
    401: (194,),  # REQUIRED_PASSWORD
    403: (291, 492, 497, AUTHENTICATION_FAILED),
    400: (
        *(6, 16, 26, 27, 36, 38, 41, 43, 44, 46, 47, 53, 62, 63, 69, 70, 72, 107, 117, 130, 131, 169, 184, 215, 321),
        *(386, 456, 457),
    ),
    404: (10, 20, 50, 51, 60, 61, 81, 115, 128, 178, 218, 376),
    413: (307,),
    501: (NOT_IMPLEMENTED,),
    504: (159, 160, 209),
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
