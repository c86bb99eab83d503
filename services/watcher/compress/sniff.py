"""Tells a picture's format by its first bytes, before any parser sees it.

Only the parser for the format found is ever run, so a stranger's file reaches one decoder, never a chain of them.
"""

from __future__ import annotations

import re
from typing import Final

from imagepress.errors import ImageError, ImageErrorCode

# Magic numbers of formats that we decode, by Pillow's names. Containers that need a second look follow below.
_ACCEPTED: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
)

# Pictures that people do link to and that we name, rather than claim they were no pictures.
_UNSUPPORTED: Final = (
    (b"8BPS", "PSD"),
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"%PDF-", "PDF"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\x00\x00\x02\x00", "CUR"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"II\xbc", "JPEG XR"),
    (b"icns", "ICNS"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"gimp xcf", "XCF"),
    (b"SIMPLE  =", "FITS"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"\x8aMNG", "MNG"),
    (b"\x8bJNG", "JNG"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"AT&TFORM", "DjVu"),
)

# Sizes that a BMP's second header may have; the magic "BM" alone also begins plain text.
_BMP_HEADERS: Final = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
# Brands of HEIF (ISO/IEC 23008-12, annex B) that hold HEVC pictures.
_HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
# An SVG begins with its element, after a byte order mark, an XML declaration, comments or a doctype of its own.
_SVG: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml|<!--|<!DOCTYPE svg|<svg)", re.IGNORECASE)
_PORTABLE: Final = re.compile(rb"P[1-7]\s+[\d#W]")
_LOOK_AT: Final = 4096  # bytes in which an SVG's root element must appear


def sniff(data: bytes) -> str:
    """Return Pillow's name of the format that `data` begins like.

    Raises ImageError with `unsupported_format` for a picture of a kind that is not accepted, and with
    `not_an_image` for anything else.
    """
    for magic, name in _ACCEPTED:
        if data.startswith(magic):
            return _tiff_or_raw(data) if name == "TIFF" else name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if data[4:8] == b"ftyp" and (brand := _brand(data)):
        return brand
    raise _refusal(data)


def _tiff_or_raw(data: bytes) -> str:
    """Tell a TIFF from a Canon raw file, whose first page is only a small preview."""
    if data[8:10] == b"CR":
        raise _unsupported("Canon raw")
    return "TIFF"


def _brand(data: bytes) -> str | None:
    """Read a file-type box (ISO/IEC 14496-12, 4.3): AVIF, HEIF, or None for a film or a document."""
    size = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12]} | {data[at : at + 4] for at in range(16, size - 3, 4)}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    if brands & _HEIC_BRANDS:
        return "HEIF"
    if b"crx " in brands:
        raise _unsupported("Canon raw")
    return None


def _refusal(data: bytes) -> ImageError:
    """Say why `data` is refused: a picture of a kind we do not take, or no picture."""
    for magic, name in _UNSUPPORTED:
        if data.startswith(magic):
            return _unsupported(name)
    head = data[:_LOOK_AT]
    if _SVG.match(head) and b"<svg" in head and b"<html" not in head.lower():
        return _unsupported("SVG")
    if _PORTABLE.match(head):
        return _unsupported("PNM")
    what = "The answer was empty" if not data else "The answer is not an image"
    return ImageError(ImageErrorCode.NOT_AN_IMAGE, what)


def _unsupported(name: str) -> ImageError:
    return ImageError(ImageErrorCode.UNSUPPORTED_FORMAT, f"{name} images are not accepted")
