"""What must hold of the CSV reader for every file there can be."""

from __future__ import annotations

import csv
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.csv_header import COLUMNS
from services.ingest.csv_rows import MAX_SERIAL_NUMBER, Row
from tests.support.csv_sound import VALID, assert_sound, read

NAMES = st.text(
    st.one_of(st.sampled_from(',;\t" \r\n$é😀\u2028\ufeff'), st.characters(exclude_characters="\0", codec="utf-8")),
    max_size=8,
).filter(lambda name: bool(name.strip()))
URLS = st.builds("http://{}/{}".format, st.sampled_from(["a", "é.org", "[::1]:80"]), st.text("a,b%?&=#ü", max_size=6))


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=100))
def test_arbitrary_bytes(data: bytes) -> None:
    """No bytes raise, alone or behind a good header."""
    assert_sound(data)
    assert_sound(VALID + data)


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.one_of(st.sampled_from('1a,;\t"\r\n :/@[]'), st.characters(codec="utf-8")), max_size=60))
def test_arbitrary_text(text: str) -> None:
    """No text raises behind a good header."""
    assert_sound(VALID + text.encode())


@settings(max_examples=60, deadline=None)
@given(
    at=st.integers(0, len(VALID)),
    cut=st.integers(0, 5),
    inserted=st.one_of(
        st.sampled_from([b"", b'"', b"\r", b"\n", b"\0", b",", b";", b"\xff", b"\xff\xfe"]), st.binary(max_size=4)
    ),
    encoding=st.sampled_from([None, "cp1252", "utf-16-le", "utf-7", "shift_jis", "hz", "cp037", "\ud800", "rot13"]),
)
def test_damaged_files(at: int, cut: int, inserted: bytes, encoding: str | None) -> None:
    """No damage to a good file raises, whatever encoding is named for it."""
    assert_sound(VALID[:at] + inserted + VALID[at + cut :], encoding)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, MAX_SERIAL_NUMBER), NAMES, st.lists(URLS, min_size=1, max_size=4)),
        min_size=1,
        max_size=5,
    ),
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    one_cell=st.booleans(),
)
def test_round_trip(
    rows: list[tuple[int, str, list[str]]], delimiter: str, end: str, encoding: str, quoting: int, one_cell: bool
) -> None:
    """What csv.writer writes is read back equal, in each delimiter, line end, encoding and way of quoting."""
    text = io.StringIO(newline="")
    if any(set("\r\n") & set(name) for _, name, _ in rows):
        quoting = csv.QUOTE_ALL  # before Python 3.13, the writer leaves some line breaks in a cell unquoted
    how = {"delimiter": delimiter, "lineterminator": end, "quoting": quoting}
    writer = csv.writer(text, **how)  # type: ignore[arg-type]  # its types know no plain number for `quoting`
    writer.writerow(COLUMNS)
    for serial, name, urls in rows:
        writer.writerow([serial, name, ",".join(urls)] if one_cell else [serial, name, *urls])
    items = read(text.getvalue().encode(encoding))
    assert [(item.serial_number, item.product_name, list(item.urls)) for item in items if isinstance(item, Row)] == [
        (serial, name.strip(), [_without_empty_pieces(url) for url in urls]) for serial, name, urls in rows
    ]


def _without_empty_pieces(url: str) -> str:
    return ",".join(piece for piece in url.split(",") if piece)
