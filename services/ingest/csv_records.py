"""Records of a CSV file: physical lines to cells, with the line that each record starts on."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Final

from services.ingest.csv_text import Unreadable

MAX_CELL_CHARACTERS: Final = 8 * 1024 * 1024
"""Longest cell: 60,000 URLs of 100 characters in one quoted cell need 6 million."""

MAX_RECORD_CHARACTERS: Final = 16 * 1024 * 1024
"""Longest record, over all its lines."""

MAX_SEPARATORS: Final = 1_000_000
"""Most delimiters and commas in a record: each may cost a string of 50 bytes, however short the cell."""

# The limit is one for the whole process (131,072 unless raised): set at import, before any thread reads.
csv.field_size_limit(MAX_CELL_CHARACTERS)


def records(lines: Iterator[str], delimiter: str, first_line: int) -> Iterator[tuple[int, list[str] | None]]:
    """Yield each record's first line (the first of `lines` being number `first_line`) and its cells.

    The cells are None where text behind a closing quote makes them unknown, on a line that stands for itself. Raises
    `Unreadable` where it is unknown what a row is: a quote never closed, or closed lines later in the middle of a cell.
    Spaces before a quote are ignored, as people type them; a quote within an unquoted cell is a character like any.
    """
    feed = _Feed(lines, delimiter)
    reader = csv.reader(feed, delimiter=delimiter, strict=True, skipinitialspace=True)
    while True:
        start = first_line + reader.line_num
        feed.begin(start)
        cells: list[str] | None
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            _raise_unless_stray(error, start, first_line + reader.line_num - 1)
            cells = None
        yield start, cells


def _raise_unless_stray(error: csv.Error, start: int, end: int) -> None:
    """Raise what `error` means for the record from line `start` to `end`, unless it is a stray quote on one line."""
    reason = str(error)
    if reason.startswith("field larger"):
        raise Unreadable(
            f"a cell of this row is longer than {MAX_CELL_CHARACTERS:,} characters; is a quote not closed?", start
        ) from None
    if reason.startswith("unexpected end"):
        raise Unreadable("a quote that opens in this row is never closed; close it, or remove it", start) from None
    if end > start:
        raise Unreadable(
            f"a quote that opens in this row is closed only on line {end}, in the middle of a cell; "
            'close it where it belongs, and write a quote inside a quoted cell twice ("")',
            start,
        ) from None


class _Feed:
    """Hands lines to csv.reader, and refuses a record that grows out of bounds before it is in memory."""

    def __init__(self, lines: Iterator[str], delimiter: str) -> None:
        self._lines = lines
        self._delimiter = delimiter
        self.begin(1)

    def begin(self, start: int) -> None:
        """Let a new record begin at line `start`."""
        self._start = start
        self._characters = 0
        self._separators = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._characters += len(line)
        self._separators += line.count(",")
        if self._delimiter != ",":
            self._separators += line.count(self._delimiter)
        if self._characters > MAX_RECORD_CHARACTERS:
            raise Unreadable(
                f"the row is longer than {MAX_RECORD_CHARACTERS:,} characters; is a quote not closed?", self._start
            )
        if self._separators > MAX_SEPARATORS:
            raise Unreadable(f"the row has more than {MAX_SEPARATORS:,} cells or pieces; split it", self._start)
        return line
