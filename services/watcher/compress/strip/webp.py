"""WebP: everything but the coded picture and its alpha goes (RFC 9649, section 2)."""

from __future__ import annotations

import struct
from typing import Final

_NEEDED: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH"})
_ANIMATION: Final = frozenset({b"ANIM", b"ANMF"})
_ALPHA_FLAG: Final = 0x10  # of VP8X; the others announce profile, EXIF, XMP and animation


def strip_webp(data: bytes) -> bytes:
    """Return the WebP `data` with nothing but its pixels; raises ValueError if it is animated."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or end > len(data):
        raise ValueError("no whole WebP file")
    parts, at = [], 12
    while at + 8 <= end:
        kind, size = struct.unpack_from("<4sI", data, at)
        after = at + 8 + size + size % 2
        if kind in _ANIMATION or after > end:
            raise ValueError("animated, or cut short")
        if kind in _NEEDED:
            parts.append(_still(data[at:after]) if kind == b"VP8X" else data[at:after])
        at = after
    body = b"".join(parts)
    return struct.pack("<4sI4s", b"RIFF", len(body) + 4, b"WEBP") + body


def _still(header: bytes) -> bytes:
    """Return the VP8X chunk `header` announcing no more than alpha."""
    return header[:8] + bytes([header[8] & _ALPHA_FLAG, 0, 0, 0]) + header[12:]
