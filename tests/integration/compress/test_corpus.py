from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.watcher.compress import Options, turbo
from tests.support.engine.pictures import (
    SHARP,
    Floats,
    assert_same,
    grey,
    image,
    opened,
    pixels,
    pressed,
    saved,
    scene,
    subsampled,
)
from tests.support.engine.png import deep_png

RGB = scene()
GREY = grey(RGB)
BITS = np.where(GREY > 128, 255.0, 0.0)
DEEP = (GREY * 256).astype(np.uint16)


def inks() -> tuple[Image.Image, Floats]:
    """A CMYK picture without a profile, and the RGB that every viewer shows for it: (1 - ink)(1 - black)."""
    layers = np.concatenate([255 - RGB, np.full((*GREY.shape, 1), 40.0)], axis=-1)
    picture = Image.frombytes("CMYK", GREY.shape[::-1], np.rint(layers).astype(np.uint8).tobytes())
    return picture, RGB * (1 - 40 / 255)


def palette() -> tuple[Image.Image, Floats]:
    """A picture of 64 colours, and those colours looked up by hand."""
    picture = image(RGB).quantize(64)
    colours = np.array(picture.getpalette(), dtype=np.float64).reshape(-1, 3)
    return picture, colours[np.asarray(picture)]


def corpus() -> Iterator[Any]:
    """Every format with every mode that it can hold, as (file, reference in floats)."""
    colour, one = image(RGB), image(BITS).convert("1")
    lossy: dict[str, Any] = {"quality": 95}
    for kind in ("JPEG", "WEBP", "AVIF", "HEIC"):
        how = {} if kind == "HEIC" else lossy
        yield pytest.param(saved(colour, kind, **how), RGB, id=f"{kind}-RGB")
        yield pytest.param(saved(image(GREY), kind, **how), GREY, id=f"{kind}-L")
    variants: dict[str, dict[str, Any]] = {
        "progressive": {"progressive": True},
        "4:4:4": {"subsampling": 0},
        "4:2:2": {"subsampling": 1},
        "rgb": {"keep_rgb": True},
        "restarts": {"restart_marker_rows": 1},
    }
    for name, how in variants.items():
        yield pytest.param(saved(colour, "JPEG", **lossy, **how), RGB, id=f"JPEG-{name}")
    for sampling in ("4:4:0", "4:1:1"):
        yield pytest.param(subsampled(colour, sampling), RGB, id=f"JPEG-{sampling}")
    yield pytest.param(saved(inks()[0], "JPEG", **lossy), inks()[1], id="JPEG-CMYK")
    yield pytest.param(saved(colour, "WEBP", lossless=True), RGB, id="WEBP-lossless")
    for kind in ("PNG", "TIFF", "BMP", "GIF"):
        yield pytest.param(saved(one, kind), BITS, id=f"{kind}-1")
        yield pytest.param(saved(image(GREY), kind), GREY, id=f"{kind}-L")
        yield pytest.param(saved(palette()[0], kind), palette()[1], id=f"{kind}-P")
    for kind in ("PNG", "TIFF", "BMP"):
        yield pytest.param(saved(colour, kind), RGB, id=f"{kind}-RGB")
    deep = Image.frombytes("I;16", GREY.shape[::-1], DEEP.tobytes())
    yield pytest.param(saved(deep, "PNG"), DEEP / 257, id="PNG-I;16")
    yield pytest.param(saved(deep, "TIFF"), DEEP / 257, id="TIFF-I;16")
    yield pytest.param(deep_png(2, RGB), RGB, id="PNG-RGB;16")
    opaque = np.full((*GREY.shape, 1), 255.0)
    yield pytest.param(deep_png(6, np.concatenate([RGB, opaque], axis=-1)), RGB, id="PNG-RGBA;16")
    yield pytest.param(deep_png(4, np.concatenate([GREY[..., None], opaque], axis=-1)), GREY, id="PNG-LA;16")
    big = Image.frombytes("I;16B", GREY.shape[::-1], DEEP.astype(">u2").tobytes())
    yield pytest.param(saved(big, "TIFF"), DEEP / 257, id="TIFF-I;16B")
    for name, scale in {"F to 1": 1 / 255, "F to 255": 1.0, "I": 257.0}.items():
        array = (GREY * scale).astype(np.int32 if name == "I" else np.float32)
        yield pytest.param(saved(Image.fromarray(array), "TIFF"), GREY, id=f"TIFF-{name}")
    yield pytest.param(saved(inks()[0], "TIFF"), inks()[1], id="TIFF-CMYK")
    yield pytest.param(saved(colour.convert("YCbCr"), "TIFF"), RGB, id="TIFF-YCbCr")
    for packing in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        yield pytest.param(saved(colour, "TIFF", compression=packing), RGB, id=f"TIFF-{packing}")


@pytest.mark.parametrize("wanted", ["jpeg", "webp", "avif"])
@pytest.mark.parametrize(("data", "reference"), list(corpus()))
def test_every_kind_of_picture_comes_out_as_it_is_seen(data: bytes, reference: Floats, wanted: Any) -> None:
    """Whatever the container and the kind of pixels, every format asked for shows the float reference."""
    shown = pixels(pressed(data, Options(quality=95, format=wanted)), "RGB" if reference.ndim == 3 else "L")
    # Palettes and bits have hard edges, which JPEG rounds off.
    assert_same(shown, reference, similar=0.95)


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_the_format_asked_for_is_written(kind: Any) -> None:
    """Each output format is really that format, says so, and shows the picture."""
    result = pressed(saved(image(RGB), "PNG"), Options(quality=90, format=kind))
    assert opened(result.data).format == kind.upper()
    assert (result.extension, result.content_type) == ("jpg" if kind == "jpeg" else kind, f"image/{kind}")
    assert (result.width, result.height, result.kept_original) == (160, 112, False)
    assert_same(pixels(result), RGB)


def test_lower_quality_makes_smaller_files() -> None:
    """Quality reaches the encoder."""
    data = saved(image(RGB), "PNG")
    sizes = [len(pressed(data, Options(quality=q)).data) for q in (10, 50, 95)]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_an_animation_becomes_its_first_frame(kind: str) -> None:
    """Of an animation, the first frame is compressed."""
    frames = [image(RGB), image(RGB[::-1])]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    assert_same(pixels(pressed(data, SHARP)), RGB, similar=0.9, apart=5)


def test_a_photograph_with_several_pictures_opens_as_its_first() -> None:
    """An MPO photograph is a JPEG with more pictures behind it; the first is the photograph."""
    data = saved(image(RGB), "MPO", save_all=True, append_images=[image(RGB[::-1])], quality=95)
    assert_same(pixels(pressed(data)), RGB)


def test_an_arithmetic_jpeg_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A JPEG in arithmetic coding, which no browser shows, is re-encoded in the usual one, however large that is."""
    with monkeypatch.context() as environment:
        environment.setenv("TJ_ARITHMETIC", "1")  # read by libjpeg-turbo's encoder; Pillow's cannot be asked for it
        data = turbo.transcode(saved(image(RGB), "JPEG", quality=95), (160, 112), 95)
    assert data is not None
    assert b"\xff\xc9" in data, "start of a frame, sequential, arithmetic (ITU-T T.81, table B.1)"
    result = pressed(data)
    assert b"\xff\xc9" not in result.data
    assert not result.kept_original
    assert_same(pixels(result), RGB)
