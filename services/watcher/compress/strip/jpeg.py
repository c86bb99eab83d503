"""JPEG: application segments and comments go, tables and scans stay (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
from typing import Final

_START: Final = b"\xff\xd8"
_END: Final = b"\xff\xd9"
_SOS: Final = 0xDA
_APP0, _APP14, _APP15, _COMMENT = 0xE0, 0xEE, 0xEF, 0xFE
# What decoding needs: Huffman tables, quantisation tables, restart interval, and the frame headers of baseline,
# extended and progressive JPEG. Browsers show no others, arithmetic-coded ones in particular.
_NEEDED: Final = frozenset({0xC4, 0xDB, 0xDD, 0xC0, 0xC1, 0xC2})
# Coded data runs to the first marker that is neither a stuffed zero, a restart nor a fill byte.
_SCAN_END: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


def strip_jpeg(data: bytes) -> bytes:
    """Return the first picture of the JPEG `data`, without metadata and what follows it (an MPO's others, films)."""
    if not data.startswith(_START):
        raise ValueError("no start of image")
    parts = [_START]
    at = len(_START)
    while (marker := _marker(data, at)) != _END[1]:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SOS:
            end = _end_of_scan(data, end)
        parts.append(_useful(marker, data[at:end]))
        at = end
    return b"".join([*parts, _END])


def _marker(data: bytes, at: int) -> int:
    if data[at] != 0xFF:
        raise ValueError("no marker where one must be")
    return data[at + 1]


def _end_of_scan(data: bytes, at: int) -> int:
    found = _SCAN_END.search(data, at)
    if found is None:
        raise ValueError("the scan does not end")
    return found.start()


def _useful(marker: int, segment: bytes) -> bytes:
    """Return what of `segment` a decoder needs: all, nothing, or of a JFIF header all but its thumbnail."""
    if marker in _NEEDED or marker == _SOS:
        return segment
    if marker == _APP0 and segment[4:9] == b"JFIF\x00":
        return b"\xff\xe0\x00\x10" + segment[4:16] + b"\x00\x00"
    if marker == _APP14 and segment[4:9] == b"Adobe":
        return b"\xff\xee\x00\x0e" + segment[4:16]  # says whether the colours are YCbCr or RGB
    if _APP0 <= marker <= _APP15 or marker == _COMMENT:
        return b""
    raise ValueError(f"unexpected marker {marker:02x}")
