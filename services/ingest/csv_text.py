"""The text of an uploaded file: bytes to physical lines, in bounded memory, or a sentence on why that cannot be."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from encodings import normalize_encoding
from encodings.aliases import aliases
from typing import BinaryIO, Final

from imagepress.errors import PermanentError

MAX_LINE_CHARACTERS: Final = 16 * 1024 * 1024
"""Longest line that is put together in memory: a row of 60,000 long URLs needs a third of it."""

_CHUNK_BYTES: Final = 64 * 1024

_REMEDY: Final = "save it as CSV UTF-8 in your spreadsheet program"

# What people upload by mistake, by its first bytes.
_OTHER_KINDS: Final = (
    (b"PK\x03\x04", "an Excel workbook (or another ZIP archive)"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (or another old Office document)"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "a WebP image (or another RIFF file)"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive"),
)

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf_32_le"),
    (codecs.BOM_UTF32_BE, "utf_32_be"),
    (codecs.BOM_UTF8, "utf_8"),
    (codecs.BOM_UTF16_LE, "utf_16_le"),
    (codecs.BOM_UTF16_BE, "utf_16_be"),
)

# Without their mark these do not say in which order the bytes of a character stand.
_NEEDS_MARK: Final = frozenset({"utf_16", "utf_32"})

# Python's table of aliases knows every encoding in wide use. Not wanted from it: the transforms of bytes to bytes and
# of text to text, the code page of whatever Windows this runs on, and UTF-7, whose decoder keeps and re-reads all
# it was given until a run of base64 ends. `idna`, `unicode_escape` and their like have no alias.
_NOT_TEXT: Final = frozenset({"mbcs", "rot_13", "utf_7"})
_TEXT_CODECS: Final = frozenset(
    {codec for codec in aliases.values() if not codec.endswith("_codec")} - _NOT_TEXT
    | {"utf_8_sig", "cp720", "cp737", "cp856", "cp874", "cp875", "koi8_t", "koi8_u"}
)


class Unreadable(PermanentError):
    """The file cannot be read any further."""

    def __init__(self, message: str, line: int = 1) -> None:
        """Carry the sentence for the client, and the physical line (from 1) that it is about."""
        super().__init__(message)
        self.line = line


def physical_lines(file: BinaryIO, encoding: str | None) -> Iterator[str]:
    r"""Yield the lines of `file` from its beginning, each with its end (`\n`, `\r\n` or `\r`), as an editor shows them.

    A byte order mark decides the encoding, as in the Encoding Standard ("decode"); else `encoding`, else UTF-8.
    Raises `Unreadable`, after the last good line, for an unknown encoding, what is not text in it, and an endless line.
    """
    line = 1
    unfinished: list[str] = []
    length = 0
    try:
        for text in _texts(file, encoding):
            # StringIO breaks at these three ends only; str.splitlines would also break at U+2028 and others.
            found = list(io.StringIO(text, newline=""))
            unfinished.append(found[0])
            length += len(found[0])
            _refuse_endless(length)
            if len(found) == 1 and not text.endswith(("\n", "\r")):
                continue
            found[0] = "".join(unfinished)
            unfinished = [] if text.endswith(("\n", "\r")) else [found.pop()]
            length = sum(map(len, unfinished))
            yield from found
            line += len(found)
    except Unreadable as error:
        error.line = line
        raise
    if unfinished:
        yield "".join(unfinished)


def _refuse_endless(length: int) -> None:
    if length > MAX_LINE_CHARACTERS:
        raise Unreadable(f"the line is longer than {MAX_LINE_CHARACTERS:,} characters")


def _texts(file: BinaryIO, encoding: str | None) -> Iterator[str]:
    r"""Yield the text in pieces, none empty, and none ending between a `\r` and its `\n`."""
    file.seek(0)
    chunk = file.read(_CHUNK_BYTES)
    codec, mark = _codec(chunk, encoding)
    # Untranslated, its one work here is to hold a last \r back until it is known what follows.
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(codec)(), translate=False)
    offset, chunk = mark, chunk[mark:]
    while chunk:
        yield from _decoded(decoder, chunk, offset, codec)
        offset += len(chunk)
        chunk = file.read(_CHUNK_BYTES)
    yield from _decoded(decoder, b"", offset, codec)


def _decoded(decoder: io.IncrementalNewlineDecoder, chunk: bytes, offset: int, codec: str) -> Iterator[str]:
    """Yield the text of `chunk` (empty: the end), which begins at byte `offset`; up to its first flaw, if any."""
    before = decoder.getstate()
    flaw = ""
    try:
        text = decoder.decode(chunk, final=not chunk)
    except UnicodeDecodeError as error:
        good = len(chunk) - (len(error.object) - error.start)
        decoder.setstate(before)
        text = decoder.decode(chunk[: max(good, 0)])
        name = codec.replace("_", "-")
        flaw = (
            f"byte {offset + good:,} (0x{error.object[error.start]:02x}) is not {name} text; "
            f"{_REMEDY}, or name the file's encoding in the field `encoding` (for example cp1252)"
        )
    text, nul, _ = text.partition("\0")
    if nul:
        flaw = f"there is a NUL character: this is not a text file, or it is UTF-16 unmarked; {_REMEDY}"
    if text:
        yield text
    if flaw:
        raise Unreadable(flaw)


def _codec(head: bytes, encoding: str | None) -> tuple[str, int]:
    """Return the codec for a file that begins with `head`, and the length of its byte order mark in bytes."""
    named = _named_codec(encoding) if encoding and not encoding.isspace() else "utf_8"
    if not head:
        raise Unreadable("the file is empty")
    for signature, kind in _OTHER_KINDS:
        if head.startswith(signature):
            raise Unreadable(f"this looks like {kind}, not a CSV file; {_REMEDY}")
    for mark, codec in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return codec, len(mark)
    if named in _NEEDS_MARK:
        raise Unreadable("the file has no byte order mark; name its byte order, for example utf-16-le")
    return named, 0


def _named_codec(encoding: str) -> str:
    # Looked up in our own set first: codecs.lookup remembers every name it was ever asked for.
    name = normalize_encoding(encoding.strip()).lower()
    codec = aliases.get(name, name)
    if codec not in _TEXT_CODECS:
        shown = repr(encoding[:40])
        raise Unreadable(f"{shown} is not a text encoding known here; name another (utf-8, cp1252, …), or {_REMEDY}")
    return codec
