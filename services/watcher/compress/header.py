"""The header of a JPEG, read without a parser of pictures.

Pillow takes 45 µs for it, which is a sixth of what libjpeg-turbo takes for a small photograph. Only what is written to
the letter is read here: whatever else there is, damage above all, is for Pillow to judge.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

# Markers of ITU-T T.81, table B.1: frames of baseline, extended and progressive JPEG, none of them arithmetic.
_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2})
_PROGRESSIVE: Final = 0xC2
_SCAN: Final = 0xDA
_APP1, _APP2 = 0xE1, 0xE2
# Tables, comments, and application segments: none of them changes what is asked here, but two, see below.
_OTHERS: Final = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
_START: Final = b"\xff\xd8"
_EXIF: Final = b"Exif\0\0"
_ICC: Final = b"ICC_PROFILE\0"
_WHOLE: Final = _ICC + b"\1\1"  # the first segment of one, which nearly all profiles fit in
# Cameras write about fifteen. A file could have millions, and each takes half a microsecond.
_MOST_SEGMENTS: Final = 100

_SEGMENT: Final = struct.Struct(">BBH")  # 255, marker, length
_FRAME: Final = struct.Struct(">BHHB")  # bits a sample, height, width, components
_MODES: Final = {1: "L", 3: "RGB"}


class JpegHeader(NamedTuple):
    """What a JPEG says before its first scan: `size` as (width, height), `mode` L or RGB, in Pillow's words."""

    size: tuple[int, int]
    mode: str
    is_progressive: bool
    exif: bytes
    profile: bytes | None


def jpeg_header(data: bytes) -> JpegHeader | None:
    """Return the header of the JPEG `data`; None where `data` is none, or is in any way unusual."""
    if not data.startswith(_START):
        return None
    try:
        return _header(data)
    except (ValueError, struct.error):
        return None


def _header(data: bytes) -> JpegHeader | None:
    frame, exif, profile = None, b"", None
    for marker, start, end in _segments(data):
        if marker in _FRAMES and frame is None:
            frame = marker, *_FRAME.unpack_from(data, start)
        elif marker not in _OTHERS:
            return None
        elif marker == _APP1 and data.startswith(_EXIF, start):
            if exif:
                return None
            exif = data[start:end]
        elif marker == _APP2 and data.startswith(_ICC, start):
            if profile or frame or not data.startswith(_WHOLE, start):
                return None
            profile = data[start + len(_WHOLE) : end]
    return _judged(frame, exif, profile)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of every segment before the first scan; ValueError if anything is in between."""
    at = len(_START)
    for _ in range(_MOST_SEGMENTS):
        fill, marker, length = _SEGMENT.unpack_from(data, at)
        if fill != 0xFF:
            raise ValueError("no marker where one must be")
        if marker == _SCAN:
            return
        end = at + 2 + length
        yield marker, at + _SEGMENT.size, end
        at = end
    raise ValueError("too many segments")


def _judged(frame: tuple[int, int, int, int, int] | None, exif: bytes, profile: bytes | None) -> JpegHeader | None:
    """Return what was found, if it is a picture of grey or of colours in 8 bits."""
    if frame is None:
        return None
    marker, bits, height, width, components = frame
    mode = _MODES.get(components)
    if bits != 8 or mode is None or not width or not height:
        return None
    return JpegHeader((width, height), mode, marker == _PROGRESSIVE, exif, profile)
