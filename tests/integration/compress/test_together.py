"""What is right alone must be right together: orientation, size, colours, transparency and depth, from any to any."""

from __future__ import annotations

import zlib
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.watcher.compress import Options
from tests.support.engine.pictures import (
    Floats,
    assert_same,
    exif,
    grey,
    image,
    pixels,
    pressed,
    saved,
    scene,
    turned,
)
from tests.support.engine.png import chunk, deep_png
from tests.support.engine.profiles import DISPLAY_P3, SRGB, grey_profile, matrix_profile, matrix_to_srgb

WANTED = ("jpeg", "webp", "avif")
RGB = scene()
GREY = grey(RGB)
WIDE = matrix_profile(DISPLAY_P3, 2.2)
STEEP = 1.5  # the exponent of the grey profile: far from sRGB's
# Seen through at the left, with a colour beneath that must not show.
CLEAR = np.clip(np.indices(GREY.shape)[1] / 100 - 0.3, 0, 1)
BENEATH = np.where(CLEAR[..., None] == 0, (0.0, 255.0, 0.0), RGB)


def options(wanted: Any, max_width: int | None = None) -> Options:
    return Options(quality=95, format=wanted, max_width=max_width)


def halved(picture: Floats) -> Floats:
    """The picture at half its size, every pixel the mean of four."""
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    return np.asarray(picture.reshape(height, 2, width, 2, *picture.shape[2:]).mean(axis=(1, 3)))


def on_white(picture: Floats, clear: Floats) -> Floats:
    share = clear[..., None] if picture.ndim == 3 else clear
    return np.asarray(picture * share + 255 * (1 - share))


def profile_chunk(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"profile\0\0" + zlib.compress(profile))


@cache
def on_its_side(kind: str, turn: int) -> bytes:
    """The scene under a wide-gamut profile, stored with EXIF orientation `turn`."""
    tag: dict[str, Any] = {"tiffinfo": {274: turn}} if kind == "TIFF" else {"exif": exif(turn).tobytes()}
    lossy = {"quality": 95} if kind in ("JPEG", "WEBP", "AVIF") else {}
    return saved(image(RGB), kind, icc_profile=WIDE, **tag, **lossy)


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC"])
def test_a_picture_is_turned_shrunk_and_brought_to_srgb(kind: str, turn: int, wanted: Any) -> None:
    """Orientation, `max_width` and a profile at once: half as wide as viewers saw it, upright, in sRGB."""
    reference = halved(turned(matrix_to_srgb(RGB, DISPLAY_P3, 2.2), turn))
    shown = pixels(pressed(on_its_side(kind, turn), options(wanted, reference.shape[1])))
    assert_same(shown, reference, similar=0.96, apart=4)


def transparent(kind: str) -> bytes:
    """The scene, seen through at its left, on its side where `kind` can be."""
    samples = np.concatenate([BENEATH, 255 * CLEAR[..., None]], axis=-1)
    tag: dict[str, Any] = {"tiffinfo": {274: 6}} if kind == "TIFF" else {"exif": exif(6).tobytes()}
    if kind == "deep PNG":
        return deep_png(6, samples, chunk(b"eXIf", exif(6).tobytes().removeprefix(b"Exif\0\0")))
    how: dict[str, dict[str, Any]] = {
        "WEBP": {"lossless": True, "exact": True},
        "AVIF": {"quality": 100},
        "HEIC": {"quality": 100},
    }
    return saved(image(samples), kind, **how.get(kind, {}), **tag)


@pytest.mark.parametrize("shrunk", [False, True])
@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("kind", ["PNG", "deep PNG", "TIFF", "WEBP", "AVIF", "HEIC"])
def test_what_is_beneath_transparency_does_not_show(kind: str, wanted: Any, shrunk: bool) -> None:
    """Turned and shrunk, a picture that is seen through has its own colours at the edges, and its own alpha channel."""
    seen, clear = turned(on_white(BENEATH, CLEAR), 6), turned(255 * CLEAR, 6)
    if shrunk:
        seen, clear = halved(seen), halved(clear)
    shown = pixels(pressed(transparent(kind), options(wanted, seen.shape[1])), "RGBA")
    assert_same(on_white(shown[..., :3], shown[..., 3] / 255), seen, similar=0.96, apart=3.5)
    assert np.abs(shown[..., 3] - (255 if wanted == "jpeg" else clear)).mean() <= 2


@pytest.mark.parametrize("wanted", WANTED)
def test_what_is_not_seen_lends_no_colour_to_what_is(wanted: Any) -> None:
    """Lines of red beside lines of a green that is not seen shrink to a red that is half seen."""
    lines = np.tile([(255.0, 0.0, 0.0, 255.0), (0.0, 255.0, 0.0, 0.0)], (32, 32, 1))
    data = saved(image(lines), "PNG")
    shown = pixels(pressed(data, options(wanted, 32)), "RGBA")
    white = on_white(shown[..., :3], shown[..., 3] / 255)[:, 4:-4]  # at the borders there is no line beyond
    assert np.abs(white - (255.0, 127.5, 127.5)).max() <= 8


def greys(kind: str) -> bytes:
    """The scene in grey under a grey profile."""
    profile = grey_profile(STEEP)
    alpha = np.full((*GREY.shape, 1), 255.0)
    match kind:
        case "deep PNG":
            return deep_png(0, GREY[..., None], profile_chunk(profile))
        case "deep PNG with alpha":
            return deep_png(4, np.concatenate([GREY[..., None], alpha], axis=-1), profile_chunk(profile))
        case "PNG with alpha":
            return saved(image(np.concatenate([GREY[..., None], alpha], axis=-1)), "PNG", icc_profile=profile)
        case "deep TIFF":
            deep = Image.frombytes("I;16", GREY.shape[::-1], np.rint(GREY * 257).astype("<u2").tobytes())
            return saved(deep, "TIFF", icc_profile=profile)
    return saved(image(GREY), kind, icc_profile=profile, **({"quality": 95} if kind == "JPEG" else {}))


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "TIFF", "deep PNG", "deep PNG with alpha", "PNG with alpha", "deep TIFF"]
)
def test_grey_follows_its_profile_at_every_depth(kind: str, wanted: Any) -> None:
    """A grey profile is applied to grey of 8 and of 16 bits, with an alpha channel and without."""
    reference = matrix_to_srgb(np.repeat(GREY[..., None], 3, axis=-1), SRGB, STEEP)[..., 0]
    assert_same(pixels(pressed(greys(kind), options(wanted)), "L"), reference)


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "deep PNG"])
def test_a_palette_and_deep_colours_follow_their_profile(kind: str, wanted: Any) -> None:
    """A profile holds for the colours of a palette, and for 16 bits a sample."""
    stored = RGB
    if kind == "deep PNG":
        data = deep_png(2, RGB, profile_chunk(WIDE))
    else:
        few = image(RGB).quantize(64)
        stored = np.asarray(few.convert("RGB"), dtype=np.float64)
        data = saved(few, kind, icc_profile=WIDE)
    assert_same(pixels(pressed(data, options(wanted))), matrix_to_srgb(stored, DISPLAY_P3, 2.2), similar=0.94, apart=4)
