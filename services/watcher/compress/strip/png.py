"""PNG: ancillary chunks go, but for simple transparency (W3C PNG, third edition, section 11)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEAD, _CHECK = 8, 4  # length and type before a chunk's data, checksum after it
_NEEDED: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_TEXT: Final = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_MAX_PROFILE: Final = 1 << 20  # bytes that Pillow lets an iCCP chunk decompress to


def strip_png(data: bytes) -> bytes:
    """Return the PNG `data` with nothing but its pixels; of an APNG that is the picture shown without animation."""
    parts = [_SIGNATURE]
    for kind, chunk in chunks(data):
        if kind[:1].isupper() and kind not in _NEEDED:
            raise ValueError(f"unknown critical chunk {kind!r}")
        if kind in _NEEDED:
            parts.append(chunk)
        if kind == b"IEND":
            return b"".join(parts)
    raise ValueError("no IEND")


def without_text(data: bytes) -> bytes:
    """Return the PNG `data` without texts and without a profile that does not unpack, to be decoded.

    Pillow unpacks every text when it opens a file, and refuses the picture for a profile that is a bomb. The same
    object is returned where there is nothing to leave out; a file that is cut short stays cut short.
    """
    found = list(chunks(data))
    useful = [chunk for kind, chunk in found if kind not in _TEXT and (kind != b"iCCP" or _unpacks(chunk))]
    if len(useful) == len(found):
        return data
    rest = len(_SIGNATURE) + sum(len(chunk) for _, chunk in found)
    return b"".join([_SIGNATURE, *useful, data[rest:]])


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and bytes (length, type, data and checksum) of each whole chunk, up to IEND."""
    at, kind = len(_SIGNATURE), b""
    while at + _HEAD + _CHECK <= len(data) and kind != b"IEND":
        kind = data[at + 4 : at + _HEAD]
        end = at + _HEAD + int.from_bytes(data[at : at + 4], "big") + _CHECK
        if end > len(data):
            return
        yield kind, data[at:end]
        at = end


def _unpacks(chunk: bytes) -> bool:
    """Tell whether an iCCP chunk holds a profile of tolerable size."""
    _, _, packed = chunk[_HEAD:-_CHECK].partition(b"\x00")
    unpack = zlib.decompressobj()
    try:
        unpack.decompress(packed[1:], _MAX_PROFILE)
    except zlib.error:
        return False
    return packed[:1] == b"\x00" and unpack.eof
