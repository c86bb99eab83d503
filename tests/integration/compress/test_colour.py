from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from services.watcher.compress import Options
from tests.support.engine.pictures import (
    SHARP,
    Floats,
    assert_same,
    difference,
    grey,
    image,
    pixels,
    pressed,
    saved,
    scene,
)
from tests.support.engine.profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    cmyk_profile,
    grey_profile,
    ink_colour,
    lab_to_srgb,
    matrix_profile,
    matrix_to_srgb,
)

WIDE = {"Display P3": DISPLAY_P3, "Adobe RGB": ADOBE_RGB}
RGB = scene()


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC", "MPO"])
def test_wide_gamut_colours_become_srgb(name: str, kind: str) -> None:
    """A picture with a wide-gamut profile shows what the profile's own mathematics, in floats, says."""
    matrix = WIDE[name]
    how: dict[str, Any] = {} if kind in ("PNG", "TIFF") else {"quality": 95}
    data = saved(image(RGB), kind, icc_profile=matrix_profile(matrix, 2.2), **how)
    reference = matrix_to_srgb(RGB, matrix, 2.2)
    assert difference(reference, RGB) > 3, "the profile must matter"
    assert_same(pixels(pressed(data)), reference, apart=2.5)


@pytest.mark.parametrize("kind", ["webp", "avif"])
def test_transparency_survives_a_profile(kind: Any) -> None:
    """Colours are corrected beneath an alpha channel, and the alpha channel is left alone."""
    alpha = np.full((*RGB.shape[:2], 1), 200.0)
    picture = image(np.concatenate([RGB, alpha], axis=-1))
    data = saved(picture, "PNG", icc_profile=matrix_profile(DISPLAY_P3, 2.2))
    shown = pixels(pressed(data, Options(quality=90, format=kind)), "RGBA")
    assert_same(shown[..., :3], matrix_to_srgb(RGB, DISPLAY_P3, 2.2), apart=4)
    assert np.abs(shown[..., 3] - 200).max() <= 2


@pytest.mark.parametrize("profile", [grey_profile(1.5), matrix_profile(SRGB, 1.5)], ids=["grey", "rgb"])
def test_grey_pictures_follow_their_profile(profile: bytes) -> None:
    """Grey is brought to sRGB's curve, under a grey profile or an RGB one."""
    values = grey(RGB)
    shown = pixels(pressed(saved(image(values), "PNG", icc_profile=profile)), "L")
    reference = matrix_to_srgb(np.repeat(values[..., None], 3, axis=-1), SRGB, 1.5)[..., 0]
    assert_same(shown, reference)


def patches() -> tuple[Image.Image, Floats]:
    """All overprints of four inks as patches of 32 x 32, and their sRGB colours."""
    nodes = np.array(list(itertools.product((0, 1), repeat=4)), dtype=np.float64).reshape(4, 4, 4)
    layers = np.kron(nodes * 255, np.ones((32, 32, 1))).astype(np.uint8)
    colours = np.array([[ink_colour(node) for node in row] for row in nodes]) * 255
    return Image.frombytes("CMYK", (128, 128), layers.tobytes()), colours


@pytest.mark.parametrize("wanted", ["jpeg", "webp", "avif"])
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_become_the_colours_of_the_print_profile(kind: str, wanted: Any) -> None:
    """CMYK, Adobe's inverted JPEG too, is converted by its print profile and not by the textbook's ideal inks."""
    picture, colours = patches()
    data = saved(picture, kind, icc_profile=cmyk_profile(), **({"quality": 100} if kind == "JPEG" else {}))
    shown = pixels(pressed(data, Options(quality=95, format=wanted)))[16::32, 16::32]
    assert np.abs(shown - colours).max() <= 8


@pytest.mark.parametrize("wanted", ["jpeg", "webp", "avif"])
def test_lab_becomes_srgb(wanted: Any) -> None:
    """A TIFF in CIE L*a*b* shows what the CIE's formulas say."""
    lightness, a = np.meshgrid(np.linspace(30, 80, 64), np.linspace(-25, 25, 64))
    b = np.full_like(a, 15.0)
    layers = np.stack([lightness * 2.55, a % 256, b % 256], axis=-1)
    stored = np.rint(layers).astype(np.int64).astype(np.uint8)
    # Pillow keeps a and b shifted by 128 in memory and writes them signed, as TIFF wants.
    picture = Image.frombytes("LAB", (64, 64), stored.tobytes())
    shown = pixels(pressed(saved(picture, "TIFF"), Options(quality=95, format=wanted)))
    assert_same(shown, lab_to_srgb(lightness, a, b), apart=2.5)


@pytest.mark.parametrize(
    "profile",
    [b"nonsense", matrix_profile(DISPLAY_P3, 2.2)[:200], cmyk_profile(), b"\0" * (5 << 20)],
    ids=["nonsense", "cut short", "for other pixels", "huge"],
)
def test_a_broken_profile_is_ignored(profile: bytes) -> None:
    """A profile that cannot be used does not cost the picture, and its colours stay."""
    assert_same(pixels(pressed(saved(image(RGB), "JPEG", quality=95, icc_profile=profile))), RGB)


def test_srgb_profiles_are_recognised_by_what_they_do() -> None:
    """An sRGB profile, whatever it is called, changes nothing, and is not passed on."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain, tagged = (saved(image(RGB), "PNG", **how) for how in ({}, {"icc_profile": profile}))
    assert pressed(tagged, SHARP).data == pressed(plain, SHARP).data
