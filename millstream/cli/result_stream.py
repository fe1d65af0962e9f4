"""A result of ClickHouse on its way to a file, a pipe or the screen."""

import codecs
from typing import BinaryIO, Protocol

from millstream.cli.failure import Failure
from millstream.formulas import FormulaGuard
from millstream.visible import visible_lines

PIECE_BYTES = 1 << 16


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


def copy(source: _Source, target: BinaryIO, output_format: str) -> None:
    """Copy a result piece by piece. `output_format`: csv, json, jsonl or parquet.

    CSV is defused for spreadsheets. On a terminal control characters are made visible; anywhere else every other byte
    stays as it is. Raises `Failure` for a binary format on a terminal.
    """
    terminal = target.isatty()
    if terminal and output_format == "parquet":
        raise Failure("parquet is not for a terminal", "write it to a file with --output", code=2)
    guard = FormulaGuard() if output_format == "csv" else None
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace") if terminal else None
    while piece := source.read(PIECE_BYTES):
        if guard:
            piece = guard.guarded(piece)
        if decoder:
            piece = visible_lines(decoder.decode(piece)).encode()
        target.write(piece)
