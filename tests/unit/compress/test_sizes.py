from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imagepress.errors import ImageError
from services.watcher.compress import Options, compress, tune_allocator
from services.watcher.compress.decode import decode
from services.watcher.compress.geometry import loaded_size
from services.watcher.compress.inspect import opened
from tests.support.engine.pictures import (
    MAX_PIXELS,
    SHARP,
    Floats,
    assert_same,
    exif,
    header,
    image,
    pixels,
    pressed,
    saved,
    scene,
)
from tests.support.weighing import Asked


def averaged(picture: Floats, factor: int) -> Floats:
    """The picture at 1/factor of its size, every pixel the mean of those it replaces."""
    height, width, _ = picture.shape
    return np.asarray(picture.reshape(height // factor, factor, width // factor, factor, 3).mean(axis=(1, 3)))


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_shrunk_picture_is_the_mean_of_what_it_replaces(kind: str, factor: int) -> None:
    """Shrinking, whether by the JPEG decoder or afterwards, shows what averaging in floats shows."""
    # Every other pixel is darker: one taken for the mean of many would show it.
    large = np.clip(scene(480, 336) - 16 * (np.indices((336, 480)).sum(axis=0) % 2)[..., None], 0, 255)
    data = saved(image(large), kind, **({"quality": 95} if kind == "JPEG" else {}))
    result = pressed(data, Options(quality=95, max_width=480 // factor))
    assert (result.width, result.height) == (480 // factor, 336 // factor)
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
    ("how", "options", "loaded", "bytes_a_pixel"),
    [
        ({}, Options(), 800 * 400, 8.5),
        ({"progressive": True}, Options(), 800 * 400, 10.5),
        ({"exif": exif(6)}, Options(), 800 * 400, 8.5),
        ({}, Options(format="webp"), 800 * 400, 11.7),
        ({}, Options(max_width=100), 100 * 50, 8.5),
        ({}, Options(max_width=150), 200 * 100, 8.5),
        ({}, Options(max_width=267), 400 * 200, 8.5),
        ({"exif": exif(6)}, Options(max_width=100), 200 * 100, 8.5),
        ({"progressive": True}, Options(max_width=100), 800 * 400, 6 + 4.5 / 64),
    ],
)
def test_room_is_asked_for_what_will_be_decoded(
    how: dict[str, object], options: Options, loaded: int, bytes_a_pixel: float
) -> None:
    """Shrink-on-load is counted, and the coefficients that a progressive JPEG keeps however small it gets."""
    asked = Asked()
    compress(saved(image(scene(800, 400)), "JPEG", **how), options, max_pixels=MAX_PIXELS, room=asked.hold)
    assert asked.pixels == [math.ceil(loaded * bytes_a_pixel / 12)]


@pytest.mark.parametrize("width", [99, 100, 101, 133, 199, 200, 399, 400, 401, 799])
@pytest.mark.parametrize("turn", [1, 6])
def test_the_size_after_loading_is_known_before(width: int, turn: int) -> None:
    """What shrink-on-load will leave is foretold to the pixel."""
    data, options = saved(image(scene(801, 403)), "JPEG", exif=exif(turn)), Options(max_width=width)
    _, picture = opened(data, options, max_pixels=MAX_PIXELS)[:2]
    foretold = loaded_size(picture, options)
    assert decode(picture, options).size == foretold


@pytest.mark.parametrize(
    ("kind", "mode", "wanted", "most"),
    [
        ("PNG", "RGB", "jpeg", 40_000),
        ("PNG", "RGB", "webp", 40_000),
        ("PNG", "RGBA", "webp", 12 * 40_000 / 42.5),
        ("PNG", "RGB", "avif", 12 * 40_000 / 33),
        ("WEBP", "RGB", "jpeg", 12 * 40_000 / 12.3),
        ("AVIF", "RGB", "jpeg", 12 * 40_000 / 13.5),
    ],
)
def test_what_takes_more_memory_has_a_limit_of_its_own(kind: str, mode: str, wanted: Any, most: float) -> None:
    """Twelve bytes for each pixel of the limit hold for every pair of formats: some are accepted up to fewer pixels."""
    most = int(most)
    for size, accepted in ((most, True), (most + 100, False)):
        data = saved(Image.new(mode, (size // 100, 100)), kind)
        if accepted:
            compress(data, Options(format=wanted), max_pixels=40_000)
            continue
        with pytest.raises(ImageError, match="at most") as refused:
            compress(data, Options(format=wanted), max_pixels=40_000)
        assert refused.value.code == "too_many_pixels"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIC"])
def test_inspection_reads_every_format(kind: str) -> None:
    """Format and size are known from the header."""
    assert header(saved(image(scene()), kind))[:3] == ("HEIF" if kind == "HEIC" else kind, 160, 112)


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
