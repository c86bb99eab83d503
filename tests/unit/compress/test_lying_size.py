"""A HEIC file is judged by what its coded data says, and no other container may lie about its size either."""

from __future__ import annotations

import struct

import pytest
from PIL import Image

from imagepress.errors import ImageError
from services.watcher.compress import Options, compress
from services.watcher.compress.coded import heic_pixels
from services.watcher.compress.coded.hevc import picture_pixels
from services.watcher.compress.inspect import opened
from tests.support.engine.bits import bits
from tests.support.engine.pictures import header, image, saved, scene

WIDTH, HEIGHT = 160, 112
HEIC = saved(image(scene(WIDTH, HEIGHT)), "HEIC")
LARGE = saved(Image.new("RGB", (1200, 800)), "HEIC")
CLEAR = Image.new("RGBA", (WIDTH, HEIGHT), (9, 8, 7, 6))

SPS = b"\x42\x01"
GENERAL = (88, 0)
LEVEL = (8, 93)


def exp_golomb(value: int) -> tuple[int, int]:
    """A number of variable length as (bits, value): as many zeros before it as it has bits after the first."""
    return 2 * (value + 1).bit_length() - 1, value + 1


def parameter_set(*levels: tuple[int, int], sub_layers: int = 0, chroma: int = 1) -> bytes:
    """A sequence parameter set of 160 x 112, with `levels` between its general level and its size."""
    full = [(1, 0)] if chroma == 3 else []
    size = [exp_golomb(0), exp_golomb(chroma), *full, exp_golomb(WIDTH), exp_golomb(HEIGHT)]
    return SPS + bits((4, 0), (3, sub_layers), (1, 1), GENERAL, LEVEL, *levels, *size)


@pytest.mark.parametrize(
    ("unit", "pixels"),
    [
        (parameter_set(), WIDTH * HEIGHT),
        (parameter_set(chroma=3), WIDTH * HEIGHT),
        (parameter_set((2, 0b11), (14, 0), GENERAL, LEVEL, sub_layers=1), WIDTH * HEIGHT),
        (parameter_set((2, 0b10), (2, 0b01), (12, 0), GENERAL, LEVEL, sub_layers=2), WIDTH * HEIGHT),
        (b"\x40\x01" + parameter_set()[2:], 0),
        (b"", 0),
    ],
    ids=["plain", "full chroma", "one sub-layer", "two sub-layers", "another unit", "nothing"],
)
def test_a_parameter_set_says_how_large_its_pictures_are(unit: bytes, pixels: int) -> None:
    """Sub-layers and chroma before the size are read over, and bytes that only break up zeros are left out."""
    assert picture_pixels(memoryview(unit)) == pixels
    assert picture_pixels(memoryview(unit.replace(b"\0\0\0", b"\0\0\3\0"))) == pixels


def test_an_honest_heic_is_as_large_as_it_says() -> None:
    """What the encoder coded, padded to its blocks, is what the file claims."""
    assert heic_pixels(HEIC) == WIDTH * HEIGHT
    assert heic_pixels(LARGE) == 1200 * 800


def test_a_heic_that_claims_to_be_smaller_than_it_is_is_refused() -> None:
    """A picture of 1,200 x 800 in a file that says 160 x 112 is refused by its header."""
    lie = LARGE.replace(struct.pack(">II", 1200, 800), struct.pack(">II", WIDTH, HEIGHT))
    assert lie != LARGE
    for work in (opened, compress):
        with pytest.raises(ImageError, match="960000 pixels") as refused:
            work(lie, Options(), max_pixels=900_000)
        assert refused.value.code == "too_many_pixels"


def test_a_parameter_set_among_the_coded_data_counts() -> None:
    """A small configuration is no cover for a larger one in the item itself."""
    at = HEIC.index(b"mdat") + 4
    start = LARGE.index(b"hvcC") + 4 + 23
    large = next(
        LARGE[n + 5 : n + 5 + int.from_bytes(LARGE[n + 3 : n + 5], "big")]
        for n in range(start, len(LARGE))
        if LARGE[n] & 0x3F == 33 and LARGE[n + 1 : n + 3] == b"\0\1"
    )
    unit = struct.pack(">I", len(large)) + large
    smuggled = HEIC[:at] + unit + HEIC[at + len(unit) :]
    assert heic_pixels(smuggled) == 1200 * 800


def webp_canvas(data: bytes, width: int, height: int) -> bytes:
    at = data.index(b"VP8X") + 12
    return data[:at] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + data[at + 6 :]


def gif_screen(data: bytes) -> bytes:
    return data[:6] + struct.pack("<HH", 16, 16) + data[10:]


LIES = {
    "webp": webp_canvas(saved(CLEAR, "WEBP"), 16, 16),
    "webp lossless": webp_canvas(saved(CLEAR, "WEBP", lossless=True, exif=b"Exif\0\0II*\0"), 16, 16),
    "webp film": webp_canvas(saved(CLEAR, "WEBP", save_all=True, append_images=[CLEAR.rotate(180)]), 16, 16),
}


@pytest.mark.parametrize("data", LIES.values(), ids=LIES)
def test_a_frame_larger_than_its_canvas_is_corrupt(data: bytes) -> None:
    """libwebp itself compares the canvas with the coded picture before it decodes a pixel."""
    with pytest.raises(ImageError) as refused:
        compress(data, Options(), max_pixels=16 * 16 * 2)
    assert refused.value.code == "corrupt"


def test_a_gif_is_as_large_as_its_frame() -> None:
    """A frame that reaches beyond a small screen counts with all its pixels."""
    data = gif_screen(saved(Image.new("P", (WIDTH, HEIGHT)), "GIF"))
    assert header(data)[1] == WIDTH
    with pytest.raises(ImageError, match=f"{WIDTH * HEIGHT} pixels"):
        header(data, max_pixels=16 * 16)
