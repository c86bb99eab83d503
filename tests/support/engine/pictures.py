"""Pictures made on the spot, and the measures that results are judged by."""

from __future__ import annotations

import ctypes
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image
from pillow_heif import register_heif_opener

from services.watcher.compress import Compressed, Options, compress, inspect
from services.watcher.compress import libturbojpeg as tj

Floats = npt.NDArray[np.float64]

MAX_PIXELS = 4_000_000
SHARP = Options(quality=95)
LUMA = np.array([0.299, 0.587, 0.114])


@cache
def scene(width: int = 160, height: int = 112) -> Floats:
    """A photograph-like picture without symmetry: soft light, a bright disc, a dark bar; RGB in 0..255."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    x, y = x / width, y / height
    red = 60 + 150 * x + 20 * np.sin(9 * y)
    green = 50 + 140 * y + 25 * np.sin(7 * x + 1)
    blue = 190 - 120 * x * y
    picture = np.stack([red, green, blue], axis=-1)
    disc = 1 / (1 + np.exp(60 * (np.hypot(x - 0.3, y - 0.35) - 0.16)))
    bar = 1 / (1 + np.exp(60 * (np.abs(x - 0.78) - 0.07))) * (y > 0.4)
    picture += disc[..., None] * (np.array([235, 215, 90]) - picture)
    picture += bar[..., None] * (np.array([35, 40, 60]) - picture)
    shown: Floats = np.clip(picture, 0, 255)
    shown.flags.writeable = False  # all tests share it
    return shown


def image(pixels: Floats) -> Image.Image:
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def grey(pixels: Floats) -> Floats:
    return np.asarray(pixels @ LUMA, dtype=np.float64)


def saved(picture: Image.Image, kind: str, **how: Any) -> bytes:
    out = BytesIO()
    if kind == "HEIC":
        register_heif_opener()
        kind, how = "HEIF", {"quality": 95, **how}
    picture.save(out, kind, **how)
    return out.getvalue()


def subsampled(picture: Image.Image, sampling: str) -> bytes:
    """A JPEG of `picture` (RGB) in a subsampling that Pillow reads, but does not write."""
    library, number = tj.load(tj.NAME), {"4:4:0": 4, "4:1:1": 5}[sampling]  # enum TJSAMP
    room = library.tjBufSize(*picture.size, number)
    memory, size = ctypes.create_string_buffer(room), ctypes.c_ulong(room)
    at, encoder = ctypes.c_void_p(ctypes.addressof(memory)), library.tjInitCompress()
    layout = picture.width, 0, picture.height, tj.PIXELS_RGB
    how = number, 95, tj.ACCURATE | tj.NO_REALLOC
    failed = library.tjCompress2(encoder, picture.tobytes(), *layout, ctypes.byref(at), ctypes.byref(size), *how)
    library.tjDestroy(encoder)
    assert not failed
    return memory.raw[: size.value]


def opened(data: bytes) -> Image.Image:
    picture = Image.open(BytesIO(data))
    picture.load()
    return picture


def pressed(data: bytes, options: Options = SHARP) -> Compressed:
    return compress(data, options, max_pixels=MAX_PIXELS)


def header(data: bytes, options: Options = SHARP, max_pixels: int = MAX_PIXELS) -> tuple[str, int, int, int]:
    """What is judged before a pixel is decoded: the format, the size, and the pixels that room is wanted for."""
    name, picture, wanted = inspect.opened(data, options, max_pixels=max_pixels)
    return name, *picture.size, wanted


def pixels(result: Compressed, mode: str = "RGB") -> Floats:
    return np.asarray(opened(result.data).convert(mode), dtype=np.float64)


def exif(orientation: int = 1, **more: str) -> Image.Exif:
    """EXIF with an orientation, a maker that can be searched for, and a place on the map."""
    block = Image.Exif()
    block[ExifTags.Base.Orientation] = orientation
    block[ExifTags.Base.Make] = more.get("make", "SECRETCAM")
    block[ExifTags.IFD.GPSInfo] = {1: "N", 2: (48.0, 8.0, 14.0), 3: "E", 4: (11.0, 34.0, 31.0)}
    return block


def turned(picture: Floats, orientation: int) -> Floats:
    """What a viewer shows for `picture` stored with EXIF `orientation`, by the tag's own words (row 0 is the ...)."""
    swapped = picture.swapaxes(0, 1)
    return {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: swapped,
        6: swapped[:, ::-1],
        7: swapped[::-1, ::-1],
        8: swapped[::-1],
    }[orientation]


def ssim(one: Floats, other: Floats, window: int = 8) -> float:
    """Mean structural similarity (Wang et al., 2004) of luma, over square windows; 1 for the same picture."""
    a, b = (_windows(grey(p) if p.ndim == 3 else p, window) for p in (one, other))
    mean_a, mean_b = a.mean(-1), b.mean(-1)
    covariance = (a * b).mean(-1) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    above = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    below = (mean_a**2 + mean_b**2 + c1) * (a.var(-1) + b.var(-1) + c2)
    return float((above / below).mean())


def _windows(picture: Floats, side: int) -> Floats:
    views = np.lib.stride_tricks.sliding_window_view(picture, (side, side))[::4, ::4]
    return views.reshape(*views.shape[:2], side * side)


def difference(one: Floats, other: Floats) -> float:
    """Mean distance of colours, 0 to 255 a channel."""
    assert one.shape == other.shape, f"{one.shape} is not {other.shape}"
    return float(np.abs(one - other).mean())


def assert_same(result: Floats, reference: Floats, *, similar: float = 0.97, apart: float = 3.0) -> None:
    assert result.shape == reference.shape, f"{result.shape} is not {reference.shape}"
    assert ssim(result, reference) >= similar
    assert difference(result, reference) <= apart
