"""Which way up, and how large: orientation, and sizes that only ever shrink."""

from __future__ import annotations

from typing import Final

from PIL import ExifTags, Image, ImageFile
from PIL.Image import Transpose

from .faults import PARSER_ERRORS
from .model import Options, OutputFormat

# What brings a picture upright, by EXIF orientation (EXIF 3.0, tag 0x0112; 1 is upright already).
_TURNS: Final = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_STEPS: Final = (8, 4, 2, 1)  # by which Pillow lets libjpeg shrink
_ON_ITS_SIDE: Final = 5  # orientations from here on swap width and height

# The longest side that each format's files can have (libjpeg's JPEG_MAX_DIMENSION, RFC 9649 section 2.1, libavif's
# AVIF_DEFAULT_IMAGE_DIMENSION_LIMIT): a longer picture is shrunk, not refused.
_LONGEST_SIDE: Final[dict[OutputFormat, int]] = {"jpeg": 65500, "webp": 16383, "avif": 32768}


def orientation(block: bytes | None) -> int:
    """Return the orientation, 1 to 8, that the EXIF `block` of a picture tells; 1 if it says none or nonsense.

    TIFF and HEIC decoders turn the picture themselves and have said so in their EXIF by then: ask after loading.
    An orientation in XMP alone is not applied; browsers do not either.
    """
    if not block:
        return 1
    exif = Image.Exif()
    try:
        exif.load(block)
        turn = exif.get(ExifTags.Base.Orientation, 1)
    except PARSER_ERRORS:  # a damaged EXIF block must not cost the picture
        return 1
    return turn if turn in _TURNS else 1


def upright(image: Image.Image, turn: int) -> Image.Image:
    """Return `image` turned by EXIF orientation `turn`; the same object where there is nothing to do."""
    return image.transpose(_TURNS[turn]) if turn in _TURNS else image


def scaled(image: Image.Image, target: tuple[int, int]) -> Image.Image:
    """Return `image` at the size `target`, in pixels; the same object where it has that size."""
    if image.size == target:
        return image
    # Lanczos keeps product photographs sharp; a gap of 3 is quicker than none, with no difference to be seen.
    return image.resize(target, Image.Resampling.LANCZOS, reducing_gap=3.0)


def target_size(size: tuple[int, int], turn: int, options: Options) -> tuple[int, int]:
    """Return the (width, height) that a stored picture of `size` is to be scaled to, before it is turned.

    `max_width` holds for the upright picture. Never larger than `size`; the aspect is kept to half a pixel.
    """
    width, height = size[::-1] if turn >= _ON_ITS_SIDE else size
    limit = _LONGEST_SIDE[options.format]
    scale = min(1.0, limit / width, limit / height, (options.max_width or width) / width)
    target = max(1, round(width * scale)), max(1, round(height * scale))
    return target[::-1] if turn >= _ON_ITS_SIDE else target


def loaded_size(image: ImageFile.ImageFile, options: Options) -> tuple[int, int]:
    """Return the size that `image` has when it is loaded after `shrink_on_load`."""
    target = _shrunk(image, options)
    if target is None:
        return image.size
    scale = min(image.width // target[0], image.height // target[1])
    step = next(step for step in _STEPS if step <= scale)
    return -(-image.width // step), -(-image.height // step)


def shrink_on_load(image: ImageFile.ImageFile, options: Options) -> None:
    """Let the decoder of a JPEG leave out detail that `options` will not keep (to 1/2, 1/4 or 1/8 of each side)."""
    target = _shrunk(image, options)
    if target is not None:
        image.draft(None, target)


def _shrunk(image: ImageFile.ImageFile, options: Options) -> tuple[int, int] | None:
    """Return the size that a JPEG, whose decoder can help with it, is to be shrunk to; None for any other picture."""
    if image.format != "JPEG":
        return None
    target = target_size(image.size, orientation(image.info.get("exif")), options)
    return target if target != image.size else None
