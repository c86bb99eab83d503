"""When the input is better than anything we can make of it: the input, without its metadata.

A kept picture is cut at the borders of its container's segments; its coded pixels stay as they are. Of an animated GIF
or APNG only the first frame is kept, as re-encoding would; an animated WebP is not kept, since its first frame need not
stand alone. A kept picture has the format it came in, whichever format was asked for, and so its transparency.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from .strip.avif import bare_avif
from .strip.gif import strip_gif
from .strip.jpeg import strip_jpeg
from .strip.png import strip_png
from .strip.webp import strip_webp

# The formats that browsers show, with what takes the metadata out of each.
_STRIPPERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "JPEG": strip_jpeg,
    "PNG": strip_png,
    "WEBP": strip_webp,
    "GIF": strip_gif,
    "AVIF": bare_avif,
}


def kept(name: str, data: bytes) -> bytes | None:
    """Return `data`, a picture of format `name`, without metadata; None if that cannot be had without re-encoding.

    The caller has made sure that it is upright, sRGB, small enough, and that it decodes.
    """
    strip = _STRIPPERS.get(name)
    if strip is None:
        return None
    try:
        return strip(data)
    except (ValueError, IndexError, struct.error):
        # Decoders forgive files that a strict walk does not understand; re-encoding such a file is always safe.
        return None
