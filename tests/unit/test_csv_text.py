"""Bytes to lines: encodings, line ends, and files that are not text."""

from __future__ import annotations

import io
from encodings.aliases import aliases

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest import csv_text
from services.ingest.csv_text import MAX_LINE_CHARACTERS, Unreadable, physical_lines

NAMES = sorted({*aliases, *aliases.values(), "utf-8-sig", "koi8-u", "idna", "punycode", "unicode_escape", "undefined"})


def read(data: bytes, encoding: str | None = None) -> list[str]:
    return list(physical_lines(io.BytesIO(data), encoding))


def read_or_refuse(data: bytes, encoding: str | None) -> tuple[list[str], Unreadable | None]:
    """Return the lines that came, and the refusal that ended them, if any."""
    lines: list[str] = []
    try:
        lines.extend(physical_lines(io.BytesIO(data), encoding))
    except Unreadable as error:
        return lines, error
    return lines, None


def refusal(data: bytes, encoding: str | None = None) -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        read(data, encoding)
    return caught.value


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("é,ß\n".encode(), None),
        ("é,ß\n".encode(), ""),
        ("é,ß\n".encode(), " UTF8 "),
        ("é,ß\n".encode("utf-8-sig"), None),
        ("é,ß\n".encode("utf-8-sig"), "cp1252"),
        ("é,ß\n".encode("utf-16"), None),
        (b"\xfe\xff" + "é,ß\n".encode("utf-16-be"), None),
        (b"\xfe\xff" + "é,ß\n".encode("utf-16-be"), "utf-16"),
        ("é,ß\n".encode("utf-16-le"), "utf-16-le"),
        ("é,ß\n".encode("utf-32"), "utf-32"),
        ("é,ß\n".encode("cp1252"), "Windows-1252"),
        ("é,ß\n".encode("latin-1"), "ISO-8859-1"),
        ("é,ß\n".encode(), "utf-8-sig"),
    ],
)
def test_encodings(data: bytes, encoding: str | None) -> None:
    """A byte order mark decides the encoding, else the name given, else it is UTF-8."""
    assert read(data, encoding) == ["é,ß\n"]


@pytest.mark.parametrize("encoding", ["rot13", "base64", "hex", "zlib", "idna", "punycode", "unicode_escape", "utf-7"])
def test_transforms_are_no_encodings(encoding: str) -> None:
    """What Python calls a codec but no file is written in is refused by name, with the remedy."""
    assert "not a text encoding known here" in str(refusal(b"a\n", encoding))
    assert "CSV UTF-8" in str(refusal(b"a\n", encoding))


@pytest.mark.parametrize("encoding", ["klingon", "../../etc/passwd", "\0", "\ud800", "x" * 10_000, "ü", "os"])
def test_unknown_encodings(encoding: str) -> None:
    """An unknown name is refused with at most its beginning in the message."""
    assert len(str(refusal(b"a\n", encoding))) < 400


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(end: str) -> None:
    """Lines end as in an editor, wherever the reading in chunks cuts them, and keep what ends them."""
    for length in range(csv_text._CHUNK_BYTES - 3, csv_text._CHUNK_BYTES + 3):
        lines = ["a" * length + end, end, "b\u2028\x0b\x85c" + end, "d"]
        assert read("".join(lines).encode()) == lines


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "the file is empty"),
        (b"PK\x03\x04\x14\0", "looks like an Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "looks like an Excel workbook"),
        (b"\x89PNG\r\n\x1a\n", "looks like a PNG image"),
        (b"\xff\xd8\xff\xe0", "looks like a JPEG image"),
        (b"%PDF-1.7", "looks like a PDF document"),
        (b"a,b\0c\n", "NUL character"),
        ("a,b\n".encode("utf-16-le"), "NUL character"),
    ],
)
def test_not_text(data: bytes, what: str) -> None:
    """What is plainly not a CSV file is refused by what it looks like."""
    assert what in str(refusal(data))


def test_unmarked_utf16() -> None:
    """UTF-16 named without a byte order, in a file without a mark, asks for the order."""
    assert "utf-16-le" in str(refusal("a,b\n".encode("utf-16-le"), "utf-16"))
    assert "utf-16-le" in str(refusal(b"\0\0\0\xdc", "u16"))


@pytest.mark.parametrize(
    ("before", "bad", "encoding"),
    [
        (b"a\nb\nc ", b"\xe9 d\n", None),
        (b"a\n" * 100_000 + b"c ", b"\xff", None),
        (b"a\r" * 100_000 + "é ".encode(), b"\xc3", None),
        (b"\xef\xbb\xbfa\r\n", b"\xe9\n", None),
        ("a\nb".encode("utf-16-le"), b"\x00\xd8a\x00", "utf-16-le"),
        ("a\nあ".encode("shift_jis"), b"\xff\xff", "shift_jis"),
        (b"a\n" * 50_000, b"\x81\n", "cp1252"),
    ],
)
def test_wrong_encoding_is_located(before: bytes, bad: bytes, encoding: str | None) -> None:
    """A byte that is no text is named with its offset and line, after every whole line before it was given."""
    lines, error = read_or_refuse(before + bad, encoding)
    assert error is not None
    assert f"byte {len(before):,} (0x{bad[0]:02x})" in str(error)
    assert error.line == len(lines) + 1
    text = before.removeprefix(b"\xef\xbb\xbf").decode(encoding or "utf-8")
    assert "".join(lines) == text[: max(text.rfind("\n"), text.rfind("\r")) + 1]


def test_endless_line() -> None:
    """A line longer than the limit is refused, with its number, before the rest of the file is read."""
    file = io.BytesIO(b"a\n" + b"x" * (MAX_LINE_CHARACTERS + 10_000_000))
    with pytest.raises(Unreadable, match="longer than") as caught:
        list(physical_lines(file, None))
    assert caught.value.line == 2
    assert file.tell() < MAX_LINE_CHARACTERS + 1_000_000


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200), encoding=st.one_of(st.none(), st.sampled_from(NAMES), st.text(max_size=20)))
def test_any_bytes_in_any_encoding(data: bytes, encoding: str | None) -> None:
    """Whatever the bytes and whatever encoding is named, lines of storable text come, or a refusal."""
    lines, error = read_or_refuse(data, encoding)
    text = "".join(lines)
    assert "\0" not in text
    assert error is None or str(error)
    text.encode()


@pytest.mark.parametrize("encoding", sorted(csv_text._TEXT_CODECS))
def test_every_known_encoding(encoding: str) -> None:
    """Every encoding that is accepted reads back what was written in it, and survives bytes that are not."""
    sample = "1,SKU,http://a/b\r\n"
    encoded = sample.encode(encoding)
    assert "".join(read(encoded, encoding)) == sample
    for byte in (0x0E, 0x1B, 0x7E, *range(0x80, 0x100, 8)):
        lines, _ = read_or_refuse(encoded + bytes([byte, 65, byte]), encoding)
        assert lines[0] == sample
        "".join(lines).encode()
