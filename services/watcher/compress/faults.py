"""Translates what decoders raise over a stranger's file into the errors that clients read."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from PIL import Image

from imagepress.errors import ImageError, ImageErrorCode

# What Pillow's parsers raise, as tried, when a file is not what it claims to be. Warnings are among them because a
# process may have made them errors.
PARSER_ERRORS: Final = (
    ArithmeticError,
    AssertionError,  # of a PNG without its palette
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    zlib.error,
)


@contextmanager
def judged() -> Iterator[None]:
    """Translate what a decoder raises inside into an ImageError: `corrupt`, or `too_many_pixels` for want of memory."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise ImageError(ImageErrorCode.TOO_MANY_PIXELS, "The image is too large to be decoded") from error
    except PARSER_ERRORS as error:
        raise ImageError(ImageErrorCode.CORRUPT, f"The image cannot be decoded: {error}"[:200]) from error
