from __future__ import annotations

from typing import Any

import pytest

from services.watcher.compress import Options
from tests.support.engine.pictures import assert_same, exif, image, pixels, pressed, saved, scene, turned
from tests.support.engine.profiles import DISPLAY_P3, matrix_profile, matrix_to_srgb


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP", "TIFF", "AVIF", "HEIC"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_comes_out_upright(kind: str, turn: int) -> None:
    """A picture is turned as its EXIF says, once, in every format that carries EXIF."""
    how = {"quality": 95} if kind in ("JPEG", "MPO", "WEBP", "AVIF") else {}
    stored = image(scene())
    tag: dict[str, Any] = {"tiffinfo": {274: turn}} if kind == "TIFF" else {"exif": exif(turn).tobytes()}
    data = saved(stored, kind, **tag, **how)
    assert_same(pixels(pressed(data)), turned(scene(), turn))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC"])
@pytest.mark.parametrize("wanted", ["webp", "avif"])
def test_a_turned_picture_with_a_profile_comes_out_in_every_format(kind: str, wanted: Any) -> None:
    """Turning and colours do not get into each other's way, from any format to any."""
    how: dict[str, Any] = {"quality": 95} if kind in ("JPEG", "WEBP", "AVIF") else {}
    tag: dict[str, Any] = {"tiffinfo": {274: 6}} if kind == "TIFF" else {"exif": exif(6).tobytes()}
    data = saved(image(scene()), kind, icc_profile=matrix_profile(DISPLAY_P3, 2.2), **tag, **how)
    shown = pixels(pressed(data, Options(quality=90, format=wanted)))
    assert_same(shown, matrix_to_srgb(turned(scene(), 6), DISPLAY_P3, 2.2), apart=4)


@pytest.mark.parametrize("turn", [1, 3, 6])
def test_max_width_holds_for_the_upright_picture(turn: int) -> None:
    """A picture stored on its side is limited by the width that viewers see."""
    data = saved(image(scene()), "JPEG", exif=exif(turn))
    result = pressed(data, Options(max_width=56))
    assert (result.width, result.height) == ((56, 39) if turn < 5 else (56, 80))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # as `tune_allocator` does for the watcher
@pytest.mark.parametrize(
    "block", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12", b"Exif\0\0nonsense", b"\xff" * 40]
)
def test_a_damaged_exif_block_does_not_cost_the_picture(block: bytes) -> None:
    """Broken EXIF means upright."""
    assert_same(pixels(pressed(saved(image(scene()), "JPEG", quality=95, exif=block))), scene())


def test_nonsense_orientations_mean_upright() -> None:
    """An orientation that does not exist is ignored."""
    assert_same(pixels(pressed(saved(image(scene()), "JPEG", quality=95, exif=exif(77)))), scene())
