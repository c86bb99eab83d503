"""Colours that a file tells by code points (cICP, nclx) come out as their own mathematics, in floats, says."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from PIL import ImageCms

from tests.support.engine.pictures import Floats, assert_same, difference, image, pixels, pressed, saved, scene
from tests.support.engine.png import chunk
from tests.support.engine.profiles import DISPLAY_P3, SRGB, decode_srgb, encode_srgb

RGB = scene()
# B. Lindbloom's formulas with the primaries of BT.2020, adapted to D50.
BT_2020 = np.array([[0.67349, 0.16566, 0.12504], [0.27904, 0.67535, 0.04561], [-0.00193, 0.02998, 0.79686]])
MATRICES = {1: SRGB, 9: BT_2020, 12: DISPLAY_P3}


def pq(value: Floats) -> Floats:
    """SMPTE ST 2084 in nits, of which 203 are the white of paper."""
    root = value ** (1 / 78.84375)
    light = (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    return np.asarray(light * 10_000 / 203)


def hlg(value: Floats) -> Floats:
    light = np.where(value <= 0.5, value**2 / 3, (np.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    return np.asarray((light / 0.265) ** 1.2)


TRANSFERS = {13: decode_srgb, 1: decode_srgb, 4: lambda value: value**2.2, 8: lambda value: value, 16: pq, 18: hlg}


def shown(primaries: int, transfer: int) -> Floats:
    """What sRGB shows for the scene under these code points."""
    light = np.clip(TRANSFERS[transfer](RGB / 255), 0, 1)
    return np.asarray(255 * encode_srgb(light @ MATRICES[primaries].T @ np.linalg.inv(SRGB).T))


def tagged(kind: str, primaries: int, transfer: int) -> bytes:
    """The scene as a file that states these code points."""
    if kind == "PNG":
        data = saved(image(RGB), "PNG")
        return data[:33] + chunk(b"cICP", bytes((primaries, transfer, 0, 1))) + data[33:]
    how: dict[str, Any] = {"quality": 95} if kind == "AVIF" else {}
    data = saved(image(RGB), kind, **how)
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


@pytest.mark.parametrize("kind", ["PNG", "AVIF", "HEIC"])
@pytest.mark.parametrize(
    ("primaries", "transfer"), [(12, 13), (9, 13), (9, 1), (9, 16), (9, 18), (12, 16), (12, 4), (1, 8)]
)
def test_colours_told_by_code_points_become_srgb(kind: str, primaries: int, transfer: int) -> None:
    """Wide primaries, PQ and HLG are brought to sRGB; what is brighter than paper is white."""
    reference = shown(primaries, transfer)
    assert difference(reference, RGB) > 2, "the code points must matter"
    # 8 bits are few where a curve is steep, and a coded picture has an error of its own before it.
    assert_same(pixels(pressed(tagged(kind, primaries, transfer))), reference, similar=0.94, apart=4)


@pytest.mark.parametrize(
    ("kind", "points"),
    [(kind, points) for kind in ("PNG", "AVIF", "HEIC") for points in ((1, 13), (1, 1), (2, 2), (2, 13))]
    # libheif refuses what it does not know itself.
    + [(kind, points) for kind in ("PNG", "AVIF") for points in ((77, 13), (9, 99))],
)
def test_srgb_and_the_unknown_change_nothing(kind: str, points: tuple[int, int]) -> None:
    """Code points of sRGB, those left open and those that nobody knows leave the colours as they are."""
    assert_same(pixels(pressed(tagged(kind, *points))), RGB, apart=3.5)


def test_a_profile_goes_before_code_points() -> None:
    """Where a file has both, the profile counts: a picture as sRGB by its profile stays."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = saved(image(RGB), "PNG", icc_profile=profile)
    both = data[:33] + chunk(b"cICP", bytes((9, 16, 0, 1))) + data[33:]
    assert_same(pixels(pressed(both)), RGB)


def test_a_cut_property_does_not_cost_the_picture() -> None:
    """A chunk without its code points is ignored."""
    data = saved(image(RGB), "PNG")
    assert_same(pixels(pressed(data[:33] + chunk(b"cICP", b"") + data[33:])), RGB)
