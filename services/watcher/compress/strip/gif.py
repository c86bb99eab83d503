"""GIF: the first frame stays; comments, application data and further frames go (GIF89a specification)."""

from __future__ import annotations

import struct
from typing import Final

_SCREEN_END: Final = 13  # signature and logical screen descriptor
_EXTENSION, _IMAGE = 0x21, 0x2C
_GRAPHIC_CONTROL: Final = 0xF9  # carries the transparent colour
_TRAILER: Final = b"\x3b"


def strip_gif(data: bytes) -> bytes:
    """Return the first frame of the GIF `data`; raises ValueError where it reaches beyond the screen."""
    at = _SCREEN_END + _table_size(data[10])
    parts = [data[:at]]
    while data[at] == _EXTENSION:
        end = _after_blocks(data, at + 2)
        if data[at + 1] == _GRAPHIC_CONTROL:
            parts.append(data[at:end])
        at = end
    if data[at] != _IMAGE:
        raise ValueError("no image")
    left, top, width, height = struct.unpack_from("<4H", data, at + 1)
    screen_width, screen_height = struct.unpack_from("<2H", data, 6)
    if left + width > screen_width or top + height > screen_height:
        raise ValueError("the frame is larger than the screen")
    end = _after_blocks(data, at + 10 + _table_size(data[at + 9]) + 1)
    return b"".join([*parts, data[at:end], _TRAILER])


def _table_size(flags: int) -> int:
    """Return the bytes of the colour table that `flags` announce."""
    return 3 << ((flags & 0x07) + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    """Return the place after the data sub-blocks that begin at `at`."""
    while size := data[at]:
        at += 1 + size
    return at + 1
