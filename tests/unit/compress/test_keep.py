from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from services.watcher.compress import Options
from tests.support.engine.pictures import exif, image, opened, pressed, saved, scene
from tests.support.engine.profiles import DISPLAY_P3, matrix_profile

# A poor quality comes in, so that whatever is made of it is larger.
POOR: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 8},
    "PNG": {"optimize": True},
    "WEBP": {"quality": 5},
    "GIF": {},
    "AVIF": {"quality": 20},
}
ENDINGS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "AVIF": "avif"}
GOOD = Options(quality=95)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">SECRETCAM</x:xmpmeta>'


def plain(kind: str) -> Image.Image:
    """Few colours, so that lossless formats are small, too."""
    return image(np.round(scene() / 120) * 120).quantize(8) if kind in ("PNG", "GIF") else image(scene())


def laden(kind: str) -> bytes:
    """A small picture that says where and with what it was taken, in every place that its format has for that."""
    how = dict(POOR[kind])
    if kind in ("JPEG", "PNG", "WEBP"):
        how["exif"] = exif()
    if kind in ("JPEG", "WEBP"):
        how["xmp"] = XMP
    if kind in ("JPEG", "GIF"):
        how["comment"] = b"SECRETCAM"
    if kind == "PNG":
        how["pnginfo"] = PngImagePlugin.PngInfo()
        how["pnginfo"].add_text("Comment", "SECRETCAM")
        how["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    return saved(plain(kind), kind, **how) + (b"SECRETCAM" if kind == "JPEG" else b"")


@pytest.mark.parametrize("kind", POOR)
def test_a_kept_original_has_the_same_pixels_and_no_metadata(kind: str) -> None:
    """When re-encoding would be larger, the input's pixels are kept bit for bit, without place, camera or texts."""
    data = laden(kind)
    result = pressed(data, GOOD)
    assert result.kept_original
    assert (result.extension, result.content_type) == (ENDINGS[kind], f"image/{kind.lower()}")
    assert len(result.data) <= len(data)
    assert opened(result.data).convert("RGBA").tobytes() == opened(data).convert("RGBA").tobytes()
    assert b"SECRETCAM" not in result.data
    assert not dict(opened(result.data).getexif())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF"])
@pytest.mark.parametrize("target", ["jpeg", "webp", "avif"])
def test_a_new_encoding_has_no_metadata(kind: str, target: Any) -> None:
    """EXIF, places, comments, XMP and profiles of the input never reach the output."""
    how: dict[str, Any] = {} if kind in ("TIFF", "GIF") else {"exif": exif()}
    if kind in ("JPEG", "GIF"):
        how["comment"] = b"SECRETCAM"
    if kind not in ("GIF", "TIFF"):
        how["icc_profile"] = matrix_profile(DISPLAY_P3, 2.2)
    result = pressed(saved(image(scene()), kind, **how), Options(quality=5, format=target))
    assert not result.kept_original
    assert b"SECRETCAM" not in result.data
    assert not {"exif", "icc_profile", "xmp", "comment"} & set(opened(result.data).info)


SMALL = {"quality": 20}
REFUSED: dict[str, Callable[[], bytes]] = {
    "turned": lambda: saved(image(scene()), "JPEG", exif=exif(6), **SMALL),
    "wide gamut": lambda: saved(image(scene()), "JPEG", icc_profile=matrix_profile(DISPLAY_P3, 2.2), **SMALL),
    "CMYK": lambda: saved(image(scene()).convert("CMYK"), "JPEG", **SMALL),
    "HEIC": lambda: saved(image(scene()), "HEIC", quality=5),
    "TIFF": lambda: saved(plain("PNG"), "TIFF", compression="tiff_adobe_deflate"),
    "AVIF with EXIF": lambda: saved(image(scene()), "AVIF", quality=20, exif=exif()),
    "animated WebP": lambda: saved(
        image(scene()), "WEBP", quality=5, save_all=True, append_images=[image(scene()[::-1])]
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_fit_to_be_kept_is_encoded_anew(case: str) -> None:
    """Turned, wide-gamut, CMYK, not for browsers, or not provably free of metadata: the re-encoding stands."""
    result = pressed(REFUSED[case](), GOOD)
    assert not result.kept_original
    assert result.extension == "jpg"
    assert b"SECRETCAM" not in result.data


def test_a_picture_wider_than_asked_is_not_kept() -> None:
    """`max_width` outweighs the bytes."""
    result = pressed(laden("PNG"), Options(quality=95, max_width=150))
    assert (result.kept_original, result.width) == (False, 150)


def test_a_picture_within_max_width_is_kept() -> None:
    """`max_width` never enlarges, and does not stand in the way of keeping."""
    result = pressed(laden("JPEG"), Options(quality=95, max_width=160))
    assert (result.kept_original, result.width) == (True, 160)


def test_an_srgb_profile_does_not_prevent_keeping() -> None:
    """A picture that is tagged as sRGB is kept, without the tag, since untagged means the same."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    result = pressed(saved(image(scene()), "JPEG", icc_profile=profile, **SMALL), GOOD)
    assert result.kept_original
    assert "icc_profile" not in opened(result.data).info


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_of_a_kept_animation_the_first_frame_remains(kind: str) -> None:
    """A kept GIF or APNG shows its first frame and moves no more."""
    data = saved(plain(kind), kind, save_all=True, append_images=[plain(kind).rotate(90)], duration=80)
    result = pressed(data, GOOD)
    assert result.kept_original
    assert getattr(opened(result.data), "n_frames", 1) == 1
    assert opened(result.data).convert("RGB").tobytes() == opened(data).convert("RGB").tobytes()


def test_of_a_kept_photograph_with_several_pictures_the_first_remains() -> None:
    """What follows the first picture of an MPO, with metadata of its own, is cut off."""
    data = saved(image(scene()), "MPO", save_all=True, append_images=[image(scene(16, 16))], **SMALL)
    result = pressed(data, GOOD)
    assert result.kept_original
    assert result.data.count(b"\xff\xd8\xff") == 1
    assert opened(result.data).format == "JPEG"


def test_the_smaller_encoding_wins() -> None:
    """A large input is re-encoded, and the result is smaller."""
    data = saved(image(scene()), "PNG")
    result = pressed(data, Options())
    assert not result.kept_original
    assert len(result.data) < len(data)
