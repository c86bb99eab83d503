from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.watcher.compress import Options
from tests.support.engine.pictures import (
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
from tests.support.engine.png import chunk

RGB = scene()
ALPHA = np.clip(255 * np.mgrid[0:112, 0:160][1] / 159, 0, 255).round()


def clear(mode: str) -> Image.Image:
    layers = RGB if mode == "RGBA" else grey(RGB)[..., None]
    return image(np.concatenate([layers, ALPHA[..., None]], axis=-1))


def on_white(colours: Floats) -> Floats:
    share = ALPHA / 255 if colours.ndim == 2 else ALPHA[..., None] / 255
    return np.asarray(colours * share + 255 * (1 - share))


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("TIFF", "RGBA"), ("WEBP", "RGBA")])
def test_transparency_is_laid_on_white_for_jpeg(kind: str, mode: str) -> None:
    """JPEG shows what a white page would show through the picture."""
    how = {"lossless": True} if kind == "WEBP" else {}
    reference = on_white(RGB if mode == "RGBA" else grey(RGB))
    shown = pixels(pressed(saved(clear(mode), kind, **how)), "RGB" if mode == "RGBA" else "L")
    assert_same(shown, reference)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("kind", ["webp", "avif"])
def test_transparency_is_kept_where_the_format_has_it(kind: Any, mode: str) -> None:
    """WebP and AVIF keep the alpha channel."""
    shown = pixels(pressed(saved(clear(mode), "PNG"), Options(quality=90, format=kind)), "RGBA")
    assert np.abs(shown[..., 3] - ALPHA).mean() <= 3


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_white(kind: str) -> None:
    """The transparent colour of a palette shows the white page."""
    # Grain, so that the JPEG is the smaller file and the palette picture is not kept as it is.
    grain = np.random.default_rng(3).normal(0, 6, RGB.shape)
    picture = image(np.clip(RGB + grain, 0, 255)).quantize(64)
    places = np.asarray(picture)
    dark = int(np.array(picture.getpalette()).reshape(-1, 3)[:64].sum(axis=1).argmin())
    data = saved(picture, kind, transparency=dark)
    result = pressed(data, Options(quality=60))
    assert not result.kept_original
    shown = pixels(result)
    assert shown[places == dark].mean() > 235
    others = np.asarray(picture.convert("RGB"), dtype=np.float64)[places != dark]
    assert difference(shown[places != dark], others) <= 12


def keyed(depth: int, colour: int, row: bytes, key: bytes) -> bytes:
    """A PNG 64 pixels wide whose transparent colour `key` is given in its own depth."""
    head = struct.pack(">IIBBBBB", 64, 64, depth, colour, 0, 0, 0)
    rows = zlib.compress((b"\0" + row) * 64, 0)
    parts = chunk(b"IHDR", head), chunk(b"tRNS", key), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("depth", "colour", "key", "other"),
    [
        (1, 0, b"\0\0", None),
        (2, 0, b"\0\1", None),
        (4, 0, b"\0\5", None),
        (8, 0, b"\0\x10", b"\x40"),
        (16, 0, b"\x12\x34", b"\x40\0"),
        (8, 2, b"\0\x10\0\x20\0\x30", b"\x40\x40\x40"),
        (16, 2, b"\x10\1\x20\2\x30\3", b"\x40\0" * 3),
    ],
)
def test_a_transparent_colour_is_understood_at_every_depth(
    depth: int, colour: int, key: bytes, other: bytes | None
) -> None:
    """PNG names its transparent colour in samples of the file's own depth."""
    if other is None:  # several pixels a byte
        packed = int.from_bytes(key, "big") * (255 // ((1 << depth) - 1))
        row = bytes([packed]) * (4 * depth) + bytes([255 if depth == 1 else 0x22 * 5 % 256]) * (4 * depth)
    else:
        sample = key if depth == 16 else key[1::2]
        row = sample * 32 + other * 32
    shown = pixels(pressed(keyed(depth, colour, row, key), Options(quality=90, format="webp")), "RGBA")
    assert shown[32, 16, 3] == 0
    assert shown[32, 48, 3] == 255
