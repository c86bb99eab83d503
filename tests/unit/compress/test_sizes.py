from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from services.watcher.compress import Inspected, Options, compress, inspect, tune_allocator

from .pictures import MAX_PIXELS, SHARP, Floats, assert_same, exif, image, pixels, pressed, saved, scene


def averaged(picture: Floats, factor: int) -> Floats:
    """The picture at 1/factor of its size, every pixel the mean of those it replaces."""
    height, width, _ = picture.shape
    return np.asarray(picture.reshape(height // factor, factor, width // factor, factor, 3).mean(axis=(1, 3)))


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_shrunk_picture_is_the_mean_of_what_it_replaces(kind: str, factor: int) -> None:
    """Shrinking, whether by the JPEG decoder or afterwards, shows what averaging in floats shows."""
    large = scene(960, 672)
    data = saved(image(large), kind, **({"quality": 95} if kind == "JPEG" else {}))
    result = pressed(data, Options(quality=95, max_width=960 // factor))
    assert (result.width, result.height) == (960 // factor, 672 // factor)
    assert_same(pixels(result), averaged(large, factor), similar=0.98, apart=2)


@pytest.mark.parametrize(
    ("max_width", "size"), [(None, (160, 112)), (500, (160, 112)), (160, (160, 112)), (33, (33, 23)), (1, (1, 1))]
)
def test_max_width_only_ever_shrinks_and_keeps_the_aspect(max_width: int | None, size: tuple[int, int]) -> None:
    """The width is at most `max_width`, never more than it was, and the height follows."""
    result = pressed(saved(image(scene()), "BMP"), Options(max_width=max_width))
    assert (result.width, result.height) == size


@pytest.mark.parametrize(("options", "size"), [(SHARP, (1, 65500)), (Options(format="webp"), (1, 16383))])
def test_a_picture_too_long_for_the_format_is_shrunk(options: Options, size: tuple[int, int]) -> None:
    """Where the output format cannot hold the longest side, the picture is made to fit."""
    strip = Image.effect_noise((2, 70_000), 90)
    result = pressed(saved(strip, "TIFF"), options)
    assert (max(1, result.width - 1), result.height) == size


@pytest.mark.parametrize(
    ("how", "options", "pixels_counted"),
    [
        ({}, None, 800 * 400),
        ({}, Options(max_width=100), 100 * 50),
        ({}, Options(max_width=150), 200 * 100),
        ({"exif": exif(6)}, Options(max_width=100), 200 * 100),
        ({"progressive": True}, Options(max_width=100), 800 * 400 // 2),
    ],
)
def test_inspection_counts_what_will_be_decoded(
    how: dict[str, object], options: Options | None, pixels_counted: int
) -> None:
    """Shrink-on-load is counted, and the coefficients that a progressive JPEG keeps however small it gets."""
    data = saved(image(scene(800, 400)), "JPEG", **how)
    assert inspect(data, options, max_pixels=MAX_PIXELS) == Inspected("JPEG", 800, 400, pixels_counted)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIC"])
def test_inspection_reads_every_format(kind: str) -> None:
    """Format and size are known from the header."""
    seen = inspect(saved(image(scene()), kind), max_pixels=MAX_PIXELS)
    assert (seen.format, seen.width, seen.height) == ("HEIF" if kind == "HEIC" else kind, 160, 112)


def test_large_pictures_leave_nothing_in_the_block_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a large picture, the memory that Pillow keeps mapped is given back."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    core = Image.core  # type: ignore[attr-defined]  # documented, not exported to type checkers
    before = core.get_blocks_max()
    tune_allocator(max_pixels=20_000_000)
    try:
        data = saved(Image.fromarray(np.zeros((3000, 3000), dtype=np.uint8)), "PNG")
        compress(data, Options(max_width=100), max_pixels=20_000_000)
        assert core.get_stats()["blocks_cached"] == 0
    finally:
        core.set_blocks_max(before)
