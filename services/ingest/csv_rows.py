"""Rows of an uploaded CSV file (contract, "First contract"): checked one by one, in bounded memory, never raising.

Read twice: `check` says whether the file is accepted, `read_rows` gives the rows to insert.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import BinaryIO, Final

from services.ingest.csv_header import (
    COLUMNS,
    DELIMITERS,
    IMAGE_URLS,
    PRODUCT_NAME,
    SERIAL_NUMBER,
    delimiter_of,
    header_faults,
)
from services.ingest.csv_records import records
from services.ingest.csv_text import Unreadable, physical_lines
from services.ingest.csv_urls import excerpt, joined_urls, url_fault

FILE: Final = "file"
"""Field of a problem that is about the whole file: nothing of it can be taken, nor the rest be read."""
ROW: Final = "row"
"""Field of a problem that is about a row whose cells cannot be told apart."""
MAX_SERIAL_NUMBER: Final = 2**63 - 1  # the largest integer that MongoDB stores
MAX_NAME_CHARACTERS: Final = 1024
PROBLEMS_LISTED: Final = 100
PROBLEMS_READ: Final = 100_000
"""Where `check` stops: a file of nothing but tiny bad rows would cost a core half a minute."""
MAX_BLANK_ROWS: Final = 2_000_000
"""Twice the rows of a spreadsheet, some of which save them all. 50 MB of line ends would cost a core 20 seconds."""

# A line of nothing but these is not yet the header. U+FEFF: a second byte order mark.
_BLANK: Final = f" \r\n\ufeff{DELIMITERS}"

_STRAY_QUOTE: Final = (
    'there is text behind a closing quote; remove the quotes, or write each quote inside a quoted cell twice ("")'
)


@dataclass(frozen=True, slots=True)
class Row:
    """A good row; `line` is the physical line it starts on, from 1."""

    line: int
    serial_number: int
    product_name: str
    urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong: on which physical line, in which column (or `FILE`, or `ROW`), and a sentence with the remedy."""

    line: int
    field: str
    message: str


@dataclass(slots=True)
class Checked:
    """What a file holds: good rows, their images, bad rows, the first 100 problems and the number of all.

    `refused` says that one of them is about the whole file, so that skipping bad rows would not help; that one is
    listed first, whatever its line.
    """

    rows: int = 0
    images: int = 0
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    bad_rows: int = 0
    refused: bool = False

    def add(self, problem: Problem) -> None:
        """Count `problem`, and list it while there is room."""
        self.problem_count += 1
        if problem.field == FILE:
            self.refused = True
            self.problems.insert(sum(listed.field == FILE for listed in self.problems), problem)
            del self.problems[PROBLEMS_LISTED:]
        elif len(self.problems) < PROBLEMS_LISTED:
            self.problems.append(problem)


def check(file: BinaryIO, *, encoding: str | None = None, max_images: int) -> Checked:
    """Read all of `file` and say what it holds; no row, or more than `max_images` images, is a problem of the file."""
    checked = Checked()
    passed_at = bad_line = 0
    for item in read_rows(file, encoding=encoding):
        if isinstance(item, Row):
            checked.rows += 1
            checked.images += len(item.urls)
            if checked.images > max_images and not passed_at:
                passed_at = item.line
        else:
            checked.add(item)
            checked.bad_rows += item.line != bad_line and item.field != FILE
            bad_line = item.line
            if checked.problem_count >= PROBLEMS_READ:
                message = f"there are {checked.problem_count:,} problems up to here; the rest was not read"
                checked.add(Problem(item.line, FILE, message))
                break
    if passed_at:
        message = f"{checked.images:,} images are more than the {max_images:,} allowed, passed here; split the file"
        checked.add(Problem(passed_at, FILE, message))
    if not checked.rows and not checked.problem_count:
        checked.add(Problem(1, FILE, "the file has a header, but no row below it"))
    return checked


def read_rows(file: BinaryIO, *, encoding: str | None = None) -> Iterator[Row | Problem]:
    """Yield each row of `file`, from its beginning, or what is wrong with it (one bad row may have several problems).

    Raises only what `file` itself raises. A problem of the file is yielded after the rows before it, and ends the
    reading (a header may have several). Product names are trimmed and otherwise kept as they are: a line break that
    somebody typed in a cell comes back as it was. `encoding` is any text encoding that Python knows by name.
    """
    try:
        yield from _items(physical_lines(file, encoding))
    except Unreadable as error:
        yield Problem(error.line, FILE, str(error))


def _items(lines: Iterator[str]) -> Iterator[Row | Problem]:
    number, header = _first_line(lines)
    if not header:
        raise Unreadable(f"the file has no text; its first line must be {','.join(COLUMNS)}")
    delimiter = delimiter_of(header)
    found = records(chain([header], lines), delimiter, number)
    line, cells = next(found)
    if cells is None:
        raise Unreadable(_STRAY_QUOTE, line)
    if faults := header_faults(cells):
        yield from (Problem(line, FILE, fault) for fault in faults)
        return
    blank = 0
    for line, cells in found:
        if cells is None:
            yield Problem(line, ROW, _STRAY_QUOTE)
        elif _is_blank(cells):
            blank += 1
            _refuse_flood(blank, line)
        else:
            yield from _row_or_problems(line, cells, delimiter)


def _first_line(lines: Iterator[str]) -> tuple[int, str]:
    """Return the first of `lines` that is not blank, and its number from 1; an empty one where there is none."""
    for number, line in enumerate(lines, start=1):
        if line.strip(_BLANK):
            return number, line
        _refuse_flood(number, number)
    return 1, ""


def _refuse_flood(blank: int, line: int) -> None:
    if blank > MAX_BLANK_ROWS:
        raise Unreadable(f"there are more than {MAX_BLANK_ROWS:,} blank rows up to here; remove them", line)


def _is_blank(cells: list[str]) -> bool:
    return not cells or (not cells[0].strip() and not any(cell.strip() for cell in cells))


def _row_or_problems(line: int, cells: list[str], delimiter: str) -> Iterator[Row | Problem]:
    serial = cells[0].strip()
    name = cells[1].strip() if len(cells) > 1 else ""
    urls = joined_urls(cells[2:], delimiter)
    good = True
    for problem in _problems(line, serial, name, urls):
        good = False
        yield problem
    if good:
        yield Row(line, int(_significant(serial)), name, tuple(urls))


def _problems(line: int, serial: str, name: str, urls: list[str]) -> Iterator[Problem]:
    if fault := _serial_fault(serial):
        yield Problem(line, SERIAL_NUMBER, fault)
    if fault := _name_fault(name):
        yield Problem(line, PRODUCT_NAME, fault)
    if not urls:
        yield Problem(line, IMAGE_URLS, "the row has no image URL")
    for url in urls:
        if fault := url_fault(url):
            yield Problem(line, IMAGE_URLS, fault)


def _serial_fault(serial: str) -> str | None:
    if not serial:
        return "the serial number is missing"
    if not (serial.isascii() and serial.isdigit()):
        return f"the serial number {excerpt(serial)} is not a whole number of the digits 0 to 9"
    significant = _significant(serial)
    if len(significant) > len(str(MAX_SERIAL_NUMBER)) or int(significant) > MAX_SERIAL_NUMBER:
        return f"the serial number {excerpt(serial)} is larger than {MAX_SERIAL_NUMBER:,}"
    return None


def _significant(serial: str) -> str:
    """Return the digits without zeros before them: int() raises for thousands of digits, whatever they are."""
    return serial.lstrip("0") or "0"


def _name_fault(name: str) -> str | None:
    if not name:
        return "the product name is missing"
    if len(name) > MAX_NAME_CHARACTERS:
        return f"the product name has {len(name):,} characters; {MAX_NAME_CHARACTERS:,} are allowed"
    # A quote forgotten here and one forgotten lines below make one name of all the rows between them.
    if "://" in name and ("\n" in name or "\r" in name):
        return "the product name runs over several lines and holds a URL; is a quote not closed?"
    return None
