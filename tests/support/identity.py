"""Pictures that carry a number in their pixels, so that a stored image tells which one it was made from.

The number and a check on it stand as 32 bits in big blocks, black or white: what compression does to a picture at any
usable quality does not bring a block near the middle grey, and a mixed-up or damaged picture fails its check.
"""

from __future__ import annotations

import io
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ACROSS: Final = 8
DOWN: Final = 4
BLOCK: Final = 16
"""Bits across and down, and pixels to a side of each: two by two of the codec's own 8-pixel blocks."""

NUMBER_BITS: Final = 20
CHECK_BITS: Final = ACROSS * DOWN - NUMBER_BITS
MOST: Final = 2**NUMBER_BITS - 1


class NoIdentity(Exception):
    """The picture carries no number that passes its check."""


def picture(number: int) -> bytes:
    """Return a JPEG of 128×64 pixels that carries `number`, from 0 to `MOST`; grain makes it compress further."""
    code = (number << CHECK_BITS) | _check(number)
    bits = np.array([code >> place & 1 for place in range(ACROSS * DOWN)], dtype=np.float64).reshape(DOWN, ACROSS)
    blocks = np.kron(bits * 191 + 32, np.ones((BLOCK, BLOCK)))
    grain = np.random.default_rng(number).normal(0, 8, blocks.shape)
    out = io.BytesIO()
    Image.fromarray(np.clip(blocks + grain, 0, 255).astype(np.uint8)).convert("RGB").save(out, "JPEG", quality=95)
    return out.getvalue()


def number_of(data: bytes) -> int:
    """Return the number that a stored picture carries, whatever its size. Raises `NoIdentity`."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            grey = opened.convert("L").resize((ACROSS * 4, DOWN * 4), Image.Resampling.BOX)
    except (OSError, ValueError) as error:
        raise NoIdentity(f"not a readable picture: {error}") from error
    code = sum(int(bit) << place for place, bit in enumerate(_middles(grey) > 128))
    number, check = code >> CHECK_BITS, code & (2**CHECK_BITS - 1)
    if check != _check(number):
        raise NoIdentity("a picture whose number fails its check")
    return number


def _middles(grey: Image.Image) -> NDArray[np.float64]:
    """Return the mean of the inner quarter of every block: its rims may have bled into each other."""
    pixels = np.asarray(grey, dtype=np.float64).reshape(DOWN, 4, ACROSS, 4)
    middles: NDArray[np.float64] = pixels[:, 1:3, :, 1:3].mean(axis=(1, 3)).reshape(-1)
    return middles


def _check(number: int) -> int:
    return zlib.crc32(number.to_bytes(4, "big")) & (2**CHECK_BITS - 1)
