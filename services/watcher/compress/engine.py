"""The whole way of one picture: header, pixels, size, colour, turn, bytes; and the choice to keep the original."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image
from PIL.ImageFile import ImageFile

from . import turbo
from .colour import correction, to_srgb
from .decode import decode
from .encode import encodable, encode
from .geometry import orientation, scaled, target_size, upright
from .inspect import opened
from .keep import kept
from .model import Compressed, Options
from .signalled import signalled_profile

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


def tune_allocator(*, max_pixels: int) -> None:
    """Set up Pillow for this process, once, at start-up: keep image memory mapped, refuse bombs of over `max_pixels`.

    `compress` is right without this, but slower, and then refuses pictures of more than 178 megapixels in any case.
    """
    _ALLOCATOR.set_blocks_max(_BLOCKS)
    # Second line of defence, for sizes that decoders find only on their way; `open_header` is the first.
    Image.MAX_IMAGE_PIXELS = max_pixels
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    # What Pillow warns of is some stranger's file, and stands in that image's error if it matters.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def compress(
    data: bytes,
    options: Options,
    *,
    max_pixels: int,
    room: Callable[[int], AbstractContextManager[object]] = nullcontext,
) -> Compressed:
    """Return the picture in `data` as `options` say: upright, sRGB, no wider than `max_width`, without metadata.

    If that is larger than `data`, and `data` is itself upright, sRGB, narrow enough and of a type that browsers show,
    it is `data` without its metadata. `room` is held while it is decoded: a context for so many pixels, of 12 bytes
    of memory each, which may wait at its start. Pure, and may be called from several threads at once.

    Raises ImageError, with `not_an_image`, `unsupported_format`, `corrupt` or `too_many_pixels` (more than
    `max_pixels`, by the header).
    """
    name, source, pixels = opened(data, options, max_pixels=max_pixels)
    with room(pixels):
        pressed = _transcoded(data, name, source, options)
        del source  # what it holds, Pillow's way opens again
        if pressed is None:
            pressed = _through_pixels(data, options, max_pixels)
    original = kept(pressed.source, data) if pressed.untouched and len(pressed.data) > len(data) else None
    extension, content_type = _KINDS[options.format.upper() if original is None else pressed.source]
    return Compressed(original or pressed.data, extension, content_type, *pressed.size, original is not None)


@dataclass(frozen=True, slots=True)
class _Pressed:
    """A picture encoded anew: its bytes, its size, the format it came in; `untouched`: its pixels were right before."""

    data: bytes
    size: tuple[int, int]
    source: str
    untouched: bool


def _transcoded(data: bytes, name: str, source: ImageFile, options: Options) -> _Pressed | None:
    """Return a photograph of which nothing but the coding changes, or None: most that shops have are like that."""
    if options.format != "jpeg" or name != "JPEG":
        return None
    turn = orientation(source)
    if turn != 1 or target_size(source.size, turn, options) != source.size:
        return None
    if correction(source.mode, source.info.get("icc_profile")):
        return None
    coded = turbo.transcode(data, source.size, options.quality)
    return _Pressed(coded, source.size, name, untouched=True) if coded else None


def _through_pixels(data: bytes, options: Options, max_pixels: int) -> _Pressed:
    """Return any picture, decoded and encoded by Pillow."""
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
    turn = orientation(source)
    del source
    target = target_size(size, turn, options)
    change = correction(image.mode, profile)
    untouched = turn == 1 and change is None and target == size and image.mode != "CMYK"
    image = scaled(image, target)
    image = to_srgb(image, change)
    image = upright(image, turn)
    return _Picture(name, encodable(image, options), untouched, size[0] * size[1] > _LARGE)
