"""Opens a picture far enough to read its header, and judges it before a pixel is decoded."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import Final

from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from imagepress.errors import ImageError, ImageErrorCode

from .coded import avif_pixels, heic_pixels
from .faults import judged
from .model import Options
from .sniff import sniff
from .strip.png import without_text
from .weight import BYTES_A_PIXEL, weight

# The parsers that strangers' files may reach. They are called by name rather than through Image.open, which would
# also look for the further pictures of an MPO photograph, and raises KeyError where their index is damaged.
_PARSERS: Final[dict[str, type[ImageFile]]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
    "AVIF": AvifImageFile,
}

# A progressive JPEG may ask for any number of passes over the whole picture; real ones have about ten. libjpeg-turbo
# itself recommends this limit (its fuzzers' and `djpeg -maxscans`).
_MAX_SCANS: Final = 500


def opened(data: bytes, options: Options, *, max_pixels: int) -> tuple[str, ImageFile, int]:
    """Return the format of `data` (Pillow's name), its lazy image, and the pixels to budget for making `options` of it.

    These are pixels of 12 bytes each: more than there are where a format takes more. Reads the header and nothing
    else. Raises ImageError: `not_an_image`, `unsupported_format`, `corrupt`, or `too_many_pixels`: over `max_pixels`
    by its header, or over what their memory holds of its kind.
    """
    name = sniff(data)
    if name == "JPEG" and data.count(b"\xff\xda") > _MAX_SCANS:
        raise ImageError(ImageErrorCode.CORRUPT, f"The image has more than {_MAX_SCANS} scans")
    with judged():
        parser = _heif_parser() if name == "HEIF" else _PARSERS[name]
        image = parser(BytesIO(without_text(data) if name == "PNG" else data))
        claimed = _claimed_pixels(image, data)
        taken = weight(image, claimed, data, options)
    if claimed > max_pixels:
        raise _too_large(f"The image has {claimed} pixels; at most {max_pixels} are accepted")
    if taken > max_pixels * BYTES_A_PIXEL:
        most = claimed * max_pixels * BYTES_A_PIXEL // taken
        raise _too_large(
            f"The image has {claimed} pixels; at most {most} are accepted of this kind of {name} for {options.format}"
        )
    return name, image, -(-taken // BYTES_A_PIXEL)


def _too_large(message: str) -> ImageError:
    return ImageError(ImageErrorCode.TOO_MANY_PIXELS, message)


def _claimed_pixels(image: ImageFile, data: bytes) -> int:
    """Return the pixels that decoding will ask memory for: some headers claim less than their contents.

    A TIFF's tiles may be larger than the picture, and so may the coded picture in an AVIF or HEIC file. libwebp checks
    this itself, and Pillow takes the larger of a GIF's screen and its frame.
    """
    inner = 0
    if isinstance(image, TiffImageFile):
        inner = int(image.tag_v2.get(TILEWIDTH, 0)) * int(image.tag_v2.get(TILELENGTH, 0))
    elif isinstance(image, AvifImageFile):
        inner = avif_pixels(data)
    elif image.format == "HEIF":
        inner = heic_pixels(data)
    return max(image.width * image.height, inner)


@cache
def _heif_parser() -> type[ImageFile]:
    """Load the HEIC decoder at the first HEIC picture: it costs 10 MB that most processes never need."""
    from pillow_heif import options
    from pillow_heif.as_plugin import HeifImageFile

    # Only the picture itself is wanted; each of these is one more parser for a stranger's bytes.
    # One thread, as the caller runs one engine a core: four would each hold a tile as large as the whole.
    options.DECODE_THREADS = 1
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    parser: type[ImageFile] = HeifImageFile
    return parser
