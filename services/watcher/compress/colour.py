"""Colours to sRGB: embedded ICC profiles are applied, CMYK becomes RGB.

LittleCMS does the mathematics (ICC.1:2022). A profile that is broken, or made for another kind of pixels than the
picture has, is ignored, as browsers ignore it.
"""

from __future__ import annotations

from functools import cache, lru_cache
from io import BytesIO
from typing import Final

from PIL import Image, ImageChops, ImageCms

# The largest profiles in use, for printing, have under 3 MB; a JPEG could carry 16 MB of them.
_MAX_PROFILE_BYTES: Final = 4 << 20
# Many profiles claim to be sRGB, none says so reliably. One is, if no colour moves by more than this of 255.
_SAME: Final = 2
_GRID: Final = 9  # colours a channel on which profiles are tried: 729, 0.1 ms
# Colours are kept, not adapted to the range, and black stays black: what print profiles need and matrix profiles bear.
_INTENT: Final = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS: Final = ImageCms.Flags.BLACKPOINTCOMPENSATION
_SPACES: Final = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}


class Correction:
    """How pixels of one mode become sRGB: a transform, or for grey a table of 256 values."""

    def __init__(self, transform: ImageCms.ImageCmsTransform, table: list[int] | None = None) -> None:
        """Hold `transform`, or for grey the `table` that was made with it."""
        self._transform = transform
        self._table = table

    def apply(self, image: Image.Image) -> Image.Image:
        """Return `image` in sRGB; RGB and RGBA pixels are changed in place, to spare a copy."""
        if self._table is not None:
            return image.point(self._table + list(range(256)) if image.mode == "LA" else self._table)
        if image.mode == "CMYK":
            return _required(ImageCms.applyTransform(image, self._transform))
        ImageCms.applyTransform(image, self._transform, inPlace=True)
        return image


def correction(mode: str, profile: bytes | None) -> Correction | None:
    """Return what brings pixels of `mode` with the ICC `profile` to sRGB, or None if they are sRGB already."""
    if not profile or len(profile) > _MAX_PROFILE_BYTES:
        return None
    return _correction(mode, profile)


def to_srgb(image: Image.Image, change: Correction | None) -> Image.Image:
    """Return `image` (mode L, LA, RGB, RGBA or CMYK) in sRGB: mode L, LA, RGB or RGBA."""
    if change is not None:
        image = change.apply(image)
    return image.convert("RGB") if image.mode == "CMYK" else image


# Sellers' photographs share few profiles, and a print profile takes 20 ms to prepare. Eight of the largest fill 32 MB.
@lru_cache(maxsize=8)
def _correction(mode: str, profile: bytes) -> Correction | None:
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = _SPACES.get(source.profile.xcolor_space)
        if mode in ("L", "LA"):
            return _grey_correction(source, space)
        return _colour_correction(source, mode) if mode.startswith(space or "?") else None
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


def _colour_correction(source: ImageCms.ImageCmsProfile, mode: str) -> Correction | None:
    """Return the correction for RGB, RGBA or CMYK pixels."""
    target = "RGB" if mode == "CMYK" else mode
    transform = ImageCms.buildTransform(source, _srgb(), mode, target, _INTENT, _FLAGS)
    if mode == "CMYK":
        return Correction(transform)
    probe = _probe().convert(mode)
    moved = ImageChops.difference(_required(ImageCms.applyTransform(probe, transform)), probe).convert("RGB")
    return Correction(transform) if _furthest(moved) > _SAME else None


def _grey_correction(source: ImageCms.ImageCmsProfile, space: str | None) -> Correction | None:
    """Return the correction for grey pixels, under a grey profile or, as is common, an RGB one."""
    if space not in ("L", "RGB"):
        return None
    ramp = Image.frombytes("L", (256, 1), bytes(range(256)))
    transform = ImageCms.buildTransform(source, _srgb(), space, "RGB", _INTENT, _FLAGS)
    grey = _required(ImageCms.applyTransform(ramp.convert(space), transform)).getchannel("G")
    if _furthest(ImageChops.difference(grey, ramp).convert("RGB")) <= _SAME:
        return None
    return Correction(transform, list(grey.tobytes()))


def _furthest(difference: Image.Image) -> int:
    """Return the largest value of any channel of `difference`, an RGB picture."""
    return max(at % 256 for at, count in enumerate(difference.histogram()) if count)


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@cache
def _probe() -> Image.Image:
    """Return a picture of evenly spread colours."""
    steps = [round(255 * i / (_GRID - 1)) for i in range(_GRID)]
    colours = bytes(value for r in steps for g in steps for b in steps for value in (r, g, b))
    return Image.frombytes("RGB", (_GRID * _GRID, _GRID), colours)


def _required(image: Image.Image | None) -> Image.Image:
    """Return the picture that LittleCMS made anew (Pillow's types allow for None, where it works in place)."""
    assert image is not None
    return image
