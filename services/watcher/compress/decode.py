"""From a lazy image to pixels of 8 bits in one of a few modes."""

from __future__ import annotations

from typing import Any, Final

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from .faults import judged
from .geometry import shrink_on_load
from .model import Options

_GREY_MODES: Final = frozenset({"1", "L", "LA", "La"})
_DEEP_MODES: Final = frozenset({"I", "F"})  # and "I;16", in four byte orders
_GREY_STEPS: Final = {"L;2": 85, "L;4": 17}  # by Pillow's name of a PNG's depth: grey of 255 for each step
_DEEP_CLEAR_GREY: Final = "LA;16B"  # likewise: grey of 16 bits with an alpha channel, which Pillow opens as RGBA
_WHITE_IS_ZERO: Final = 0  # TIFF 6.0, section 8, PhotometricInterpretation


def decode(image: ImageFile, options: Options) -> Image.Image:
    """Decode `image`, no larger than `options` need, to mode L, LA, RGB, RGBA or CMYK.

    Of an animation it is the first frame (of an APNG, the picture that viewers without animation show). Raises
    ImageError `corrupt` if the data does not decode to the end, `too_many_pixels` if memory does not suffice.
    """
    with judged():
        shrink_on_load(image, options)
        rawmode = image.tile[0].args if image.format == "PNG" and image.tile else None
        _match_key_to_depth(image, rawmode)
        if "_decoder" in vars(image):
            vars(image)["_decoder"] = _Decoder(vars(image)["_decoder"])
        image.load()
        plain = _plain(image, is_grey=image.mode in _GREY_MODES or rawmode == _DEEP_CLEAR_GREY)
        if plain is image:
            # The same pixels without the file: its further pictures take memory, and encoders would look for them.
            plain = image._new(image.im)
    image.close()  # lets go of its pixels; its header stays readable
    return plain


class _Decoder:
    """Pillow's decoder of WebP or AVIF, freed when it has given its first picture rather than with the image.

    It holds up to 8 bytes a pixel, which Pillow would otherwise keep while it takes the picture over.
    """

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    def get_next(self) -> tuple[bytes, int]:
        """Give the picture of a WebP, and its time."""
        picture: tuple[bytes, int] | None = self._spent().get_next()
        if picture is None:
            raise EOFError("the picture is damaged")
        return picture

    def get_frame(self, number: int) -> tuple[bytes, int, int, int]:
        """Give the picture of an AVIF, and its times."""
        picture: tuple[bytes, int, int, int] = self._spent().get_frame(number)
        return picture

    def _spent(self) -> Any:
        decoder, self._decoder = self._decoder, None
        return decoder


def _match_key_to_depth(image: ImageFile, rawmode: object) -> None:
    """Bring a PNG's transparent colour to 8 bits: Pillow does so with the pixels, but not with the colour."""
    key = image.info.get("transparency")
    if isinstance(key, int) and isinstance(rawmode, str) and rawmode in _GREY_STEPS:
        image.info["transparency"] = key * _GREY_STEPS[rawmode]
    elif isinstance(key, tuple) and rawmode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)


def _plain(image: ImageFile, *, is_grey: bool) -> Image.Image:
    """Return `image` in one of the modes that the rest of the engine knows, without a copy where it has one."""
    mode = image.mode
    if mode in _DEEP_MODES or mode.startswith("I;16"):
        return _eight_bits(image)
    if image.has_transparency_data:
        wanted = "LA" if is_grey else "RGBA"
    elif mode == "1":
        wanted = "L"
    else:
        wanted = mode if mode in ("L", "RGB", "CMYK") else "RGB"
    return image if mode == wanted and "transparency" not in image.info else image.convert(wanted)


def _eight_bits(image: ImageFile) -> Image.Image:
    """Scale grey of more than 8 bits to L, or LA; Pillow's own conversion would clip all above 255 to white."""
    low, high = _range(image)
    scale = 255 / (high - low)
    offset = -low * scale
    if isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO:
        scale, offset = -scale, 255 - offset
    # Pillow calculates with 16-bit integers of one byte order only.
    deep = image.convert("I") if image.mode.startswith("I;16") and image.mode != "I;16" else image
    # Integers are cut off, not rounded, by what follows: hence the half.
    grey = deep.point(lambda value: value * scale + (offset + 0.5)).convert("L")
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey.putalpha(deep.convert("I").point([0 if value == key else 255 for value in range(1 << 16)], "L"))
    return grey


def _range(image: ImageFile) -> tuple[float, float]:
    """Return the values that stand for black and white.

    16-bit grey says so by its depth. Integers of 32 bits and floats do not: the customary ranges (1.0 for floats, 8
    and 16 bits) are tried in turn, and the picture's own range is taken where none fits, as viewers do.
    """
    if image.mode.startswith("I;16"):
        bits = image.tag_v2.get(BITSPERSAMPLE, (16,))[0] if isinstance(image, TiffImageFile) else 16
        return 0.0, float((1 << min(bits, 16)) - 1)
    low, high = (float(value) for value in image.getextrema())  # type: ignore[arg-type]  # one band: two numbers
    for usual in (1.0, 255.0, 65535.0):
        if low >= 0 and high <= usual and (usual > 1 or image.mode == "F"):
            return 0.0, usual
    return (low, high) if high > low else (0.0, 1.0)
