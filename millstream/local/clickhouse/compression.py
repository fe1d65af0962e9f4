"""HTTP compression, both ways, piece by piece."""

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import lz4.frame

from millstream.local.clickhouse.errors import CANNOT_DECOMPRESS, UNKNOWN_COMPRESSION_METHOD, ClickHouseError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP, _ZLIB = 31, 15

_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(_GZIP),
    "deflate": lambda: zlib.decompressobj(_ZLIB),
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
}


class _Lz4Compressor:
    """The frame's header belongs to the first piece."""

    def __init__(self) -> None:
        self._compressor = lz4.frame.LZ4FrameCompressor()
        self._header = self._compressor.begin()

    def compress(self, piece: bytes) -> bytes:
        header, self._header = self._header, b""
        return bytes(header + self._compressor.compress(piece))

    def flush(self) -> bytes:
        header, self._header = self._header, b""
        return bytes(header + self._compressor.flush())


_COMPRESSORS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.compressobj(wbits=_GZIP),
    "deflate": lambda: zlib.compressobj(wbits=_ZLIB),
    "lz4": _Lz4Compressor,
    "zstd": zstd.ZstdCompressor,
}


def decompressed(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The body as it was before its Content-Encoding (empty or identity for none). Raises `ClickHouseError`."""
    if encoding in ("", "identity"):
        yield from pieces
        return
    if encoding not in _DECOMPRESSORS:
        known = ", ".join(_DECOMPRESSORS)
        raise ClickHouseError.raised(
            UNKNOWN_COMPRESSION_METHOD,
            "UNKNOWN_COMPRESSION_METHOD",
            f"Content-Encoding {encoding!r} is not supported here, only {known}",
        )
    start = _DECOMPRESSORS[encoding]
    decompressor = start()
    fed = False
    try:
        for piece in pieces:
            left = piece
            while left:
                # A body may be several frames, one after the other.
                if decompressor.eof:
                    decompressor = start()
                if plain := decompressor.decompress(left):
                    yield plain
                left = decompressor.unused_data if decompressor.eof else b""
                fed = True
    except (zlib.error, RuntimeError, zstd.ZstdError, EOFError) as error:
        raise _damaged(encoding, str(error)) from error
    if fed and not decompressor.eof:
        raise _damaged(encoding, "it ends early")


def choose_encoding(accepted: str) -> str:
    """The first encoding of an Accept-Encoding header that can be produced; empty for none."""
    for offer in accepted.lower().split(","):
        name = offer.split(";")[0].strip()
        if name in _COMPRESSORS:
            return name
    return ""


def compressor(encoding: str) -> Any:
    """An object with `compress(piece)` and `flush()`."""
    return _COMPRESSORS[encoding]()


def _damaged(encoding: str, reason: str) -> ClickHouseError:
    return ClickHouseError.raised(CANNOT_DECOMPRESS, "CANNOT_DECOMPRESS", f"The body is not {encoding}: {reason}")
