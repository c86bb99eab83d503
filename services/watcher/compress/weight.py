"""What memory a picture takes, told by its header, before any of it is decoded.

Bytes for each pixel, beside those of the file: the most that was measured where every sample is noise and every option
of the format is used. tests/integration/test_flat_memory.py measures them again for each pair of formats.
"""

from __future__ import annotations

import math
from typing import Final

from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, ROWSPERSTRIP, TILELENGTH, TILEWIDTH, TiffImageFile

from .geometry import loaded_size, target_size
from .model import Options, OutputFormat

BYTES_A_PIXEL: Final = 12
"""What a pixel of the limit stands for. Formats that take more have a limit of their own, in the same proportion."""

# One picture, as Pillow keeps it (4 bytes, also for three channels); and two, as turning and whitening take.
_ONE, _TWO = 4.5, 8.5

# While a picture is encoded, itself included: without and with transparency. WebP's encoder searches the alpha channel
# for repetitions, which takes the more the less it finds; AV1's keeps what it decided for every 4 x 4 pixels.
_ENCODING: Final[dict[OutputFormat, tuple[float, float]]] = {
    "jpeg": (_TWO, _TWO),
    "webp": (11.7, 42.5),
    "avif": (33, 38),
}


def weight(image: ImageFile, claimed: int, data: bytes, options: Options) -> int:
    """Return the bytes that making `options` of the lazy `image`, read from `data`, takes beside `data`.

    Its decoder may ask for `claimed` pixels.
    """
    loaded = math.prod(loaded_size(image, options))
    # Whether it lies on its side is not known before it is loaded, and matters only under a limit of its width.
    target = min(loaded, max(math.prod(target_size(image.size, turn, options)) for turn in (1, 6)))
    encoding = target * _ENCODING[options.format][image.has_transparency_data]
    return math.ceil(max(_decoding(image, claimed, loaded, data), encoding))


def _decoding(image: ImageFile, claimed: int, loaded: int, data: bytes) -> float:
    """Return the most bytes while `image` is decoded, turned, and brought to sRGB."""
    clear = image.has_transparency_data
    match image.format:
        case "JPEG":
            samples = len(image.getbands()) * image.width * image.height
            return jpeg_weight(samples, loaded, is_progressive="progressive" in image.info)
        case "TIFF" if isinstance(image, TiffImageFile):
            # Numbers beyond 8 bits pass through 32; a strip or a tile is unpacked whole.
            return max(claimed * (_TWO + 1), claimed * _ONE + _strip_bytes(image))
        case "WEBP":
            # Two canvases and the result; without loss, or for alpha, the decoder keeps a picture of its own.
            return claimed * (17.7 if b"VP8L" in data or b"ALPH" in data else 12.3)
        case "AVIF":
            return claimed * (18.0 if clear else 13.5)  # of more than 8 bits, which only the coded data would tell
        case "HEIF":
            deep = image.info.get("bit_depth") != 8
            return claimed * ((23.3 if clear else 17.0) if deep else (13.1 if clear else 9.9))
    return claimed * _TWO


def jpeg_weight(samples: int, loaded: int, *, is_progressive: bool) -> float:
    """Return the most bytes while a JPEG of so many `samples` is decoded to `loaded` pixels.

    A progressive one keeps the coefficients of the whole picture, 2 bytes each, however small it is decoded.
    """
    return max(loaded * _TWO, loaded * _ONE + 2 * samples * is_progressive)


def _strip_bytes(image: TiffImageFile) -> int:
    """Return the bytes of an unpacked strip, or tile, of a TIFF (TIFF 6.0, sections 3 and 15)."""
    tags = image.tag_v2
    tile = tags.get(TILEWIDTH, 0) * tags.get(TILELENGTH, 0)
    rows = min(tags.get(ROWSPERSTRIP, image.height), image.height)
    return int((tile or rows * image.width) * max(sum(tags.get(BITSPERSAMPLE, (8,))) // 8, 4))
