"""The whole way of one picture: header, pixels, size, colour, turn, bytes; and the choice to keep the original."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image

from . import turbo
from .colour import correction, to_srgb
from .decode import decode
from .encode import encodable, encode
from .geometry import orientation, scaled, target_size, upright
from .header import JpegHeader, jpeg_header
from .inspect import opened
from .keep import kept
from .model import Compressed, Options
from .signalled import signalled_profile
from .weight import BYTES_A_PIXEL, jpeg_weight

# File name endings and content types, by Pillow's name of the format (RFC 9649 for WebP, the AVIF specification).
_KINDS: Final = {
    "JPEG": ("jpg", "image/jpeg"),
    "PNG": ("png", "image/png"),
    "WEBP": ("webp", "image/webp"),
    "GIF": ("gif", "image/gif"),
    "AVIF": ("avif", "image/avif"),
}
# Pillow documents this ("Block allocator") but does not export it to type checkers.
_ALLOCATOR: Final[Any] = Image.core  # type: ignore[attr-defined]
# Blocks of freed image memory to keep mapped: fresh memory's page faults are half the cost of a 1000 x 1000 photograph.
_BLOCKS: Final = 64
# Above this many pixels (32 MB a copy) the kept blocks weigh more than the faults that they save.
_LARGE: Final = 8_000_000

QUICK_PIXELS, QUICK_BYTES = 200_000, 64 * 1024
"""A photograph of so many takes about a millisecond, or two where Pillow has to turn it."""

Room = Callable[[int], AbstractContextManager[object]]


def tune_allocator(*, max_pixels: int) -> None:
    """Set up Pillow for this process, once, at start-up: keep image memory mapped, refuse bombs of over `max_pixels`.

    `compress` is right without this, but slower, and then refuses pictures of more than 178 megapixels in any case.
    """
    _ALLOCATOR.set_blocks_max(_BLOCKS)
    # Second line of defence, for sizes that decoders find only on their way; `opened` is the first.
    Image.MAX_IMAGE_PIXELS = max_pixels
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    # What Pillow warns of is some stranger's file, and stands in that image's error if it matters.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def compress(data: bytes, options: Options, *, max_pixels: int, room: Room = nullcontext) -> Compressed:
    """Return the picture in `data` as `options` say: upright, sRGB, no wider than `max_width`, without metadata.

    If that is larger than `data`, and `data` is itself upright, sRGB, narrow enough and of a type that browsers show,
    it is `data` without its metadata. `room` is held while it is decoded: a context for so many pixels, of 12 bytes
    of memory each, which may wait at its start. Pure, and may be called from several threads at once.

    Raises ImageError, with `not_an_image`, `unsupported_format`, `corrupt` or `too_many_pixels` (more than
    `max_pixels`, by the header).
    """
    pressed = _transcoded(data, options, max_pixels, room) or _through_pixels(data, options, max_pixels, room)
    original = kept(pressed.source, data) if pressed.untouched and len(pressed.data) > len(data) else None
    extension, content_type = _KINDS[options.format.upper() if original is None else pressed.source]
    return Compressed(original or pressed.data, extension, content_type, *pressed.size, original is not None)


def is_quick(data: bytes, options: Options) -> bool:
    """Return whether `compress` is done in a moment: for a small photograph that becomes a JPEG, by its header."""
    header = jpeg_header(data) if options.format == "jpeg" and len(data) <= QUICK_BYTES else None
    return header is not None and math.prod(header.size) <= QUICK_PIXELS


@dataclass(frozen=True, slots=True)
class _Pressed:
    """A picture encoded anew: its bytes, its size, the format it came in; `untouched`: its pixels were right before."""

    data: bytes
    size: tuple[int, int]
    source: str
    untouched: bool


def _transcoded(data: bytes, options: Options, max_pixels: int, room: Room) -> _Pressed | None:
    """Return a photograph of which nothing but the coding changes, or None: most that shops have are like that."""
    header = jpeg_header(data) if options.format == "jpeg" else None
    if header is None or not _is_plain(header, options):
        return None
    pixels = math.prod(header.size)
    if pixels > max_pixels:
        return None
    taken = jpeg_weight(len(header.mode) * pixels, pixels, is_progressive=header.is_progressive)
    with room(math.ceil(taken / BYTES_A_PIXEL)):
        coded = turbo.transcode(data, header.size, options.quality)
    return _Pressed(coded, header.size, "JPEG", untouched=True) if coded else None


def _is_plain(header: JpegHeader, options: Options) -> bool:
    """Return whether a JPEG is upright, sRGB, and of the size that it is to have."""
    if orientation(header.exif) != 1 or correction(header.mode, header.profile):
        return False
    return target_size(header.size, 1, options) == header.size


def _through_pixels(data: bytes, options: Options, max_pixels: int, room: Room) -> _Pressed:
    """Return any picture, decoded and encoded by Pillow."""
    # While it waits for room it holds nothing: it is opened again.
    with room(opened(data, options, max_pixels=max_pixels)[2]):
        picture = _picture(data, options, max_pixels)
        size, name, untouched, is_large = picture.image.size, picture.format, picture.untouched, picture.is_large
        if is_large:
            _ALLOCATOR.clear_cache()
        pressed = encode(picture.image, options)
        del picture
        if is_large:
            _ALLOCATOR.clear_cache()
    return _Pressed(pressed, size, name, untouched)


@dataclass(frozen=True, slots=True)
class _Picture:
    """A picture ready for its encoder, of the `format` it came in; `untouched`: its pixels were right as they came."""

    format: str
    image: Image.Image
    untouched: bool
    is_large: bool


def _picture(data: bytes, options: Options, max_pixels: int) -> _Picture:
    """Decode `data` and make of it what `options` ask for.

    The picture of each step replaces the one before: two at a time are what the memory of `weight` is for.
    """
    name, source = opened(data, options, max_pixels=max_pixels)[:2]
    size, profile = source.size, source.info.get("icc_profile") or signalled_profile(name, data)
    image = decode(source, options)
    turn = orientation(source.info.get("exif"))
    del source
    target = target_size(size, turn, options)
    change = correction(image.mode, profile)
    untouched = turn == 1 and change is None and target == size and image.mode != "CMYK"
    image = scaled(image, target)
    image = to_srgb(image, change)
    image = upright(image, turn)
    return _Picture(name, encodable(image, options), untouched, size[0] * size[1] > _LARGE)
