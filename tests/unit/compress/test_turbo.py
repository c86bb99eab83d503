from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image, ImageChops
from PIL.JpegImagePlugin import get_sampling

from services.watcher.compress import Options, libturbojpeg, turbo
from services.watcher.compress.encode import encode
from tests.support.engine.pictures import assert_same, grey, image, opened, pixels, pressed, saved, scene, subsampled

PHOTOGRAPH = saved(image(scene()), "JPEG", quality=95)
SIZE = (160, 112)
SIZES = [(1, 1), (1, 17), (17, 1), (15, 16), (16, 15), (31, 33), SIZE]


def coded(data: bytes, size: tuple[int, int] = SIZE) -> bytes:
    """Return what the library makes of `data`, which is of its kind."""
    made = turbo.transcode(data, size, 90)
    assert made is not None
    return made


def test_the_library_is_there() -> None:
    """What is measured and shipped is the fast way: where tests run, the library is installed."""
    assert turbo.available()


def test_a_photograph_goes_from_planes_to_planes() -> None:
    """The engine's answer for a plain photograph is the library's own."""
    assert pressed(PHOTOGRAPH, Options(quality=90)).data == coded(PHOTOGRAPH)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("how", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_every_size_comes_out_as_pillow_shows_it(size: tuple[int, int], mode: str, how: dict[str, Any]) -> None:
    """Odd sides end in the middle of a chroma sample and of a block, and still show the same picture."""
    source = image(scene()).convert(mode).resize(size)
    data = saved(source, "JPEG", quality=95, subsampling=2, **how)
    again = opened(coded(data, size))
    assert (again.size, again.mode, again.format) == (size, mode, "JPEG")
    shown = [float(value) for value in again.convert("L").tobytes()]
    meant = [float(value) for value in opened(data).convert("L").tobytes()]
    assert max(abs(one - other) for one, other in zip(shown, meant, strict=True)) < 16


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "code",
    [
        lambda picture: saved(picture, "JPEG", quality=95, subsampling=0),
        lambda picture: saved(picture, "JPEG", quality=95, subsampling=0, progressive=True),
        lambda picture: saved(picture, "JPEG", quality=95, subsampling=1),
        lambda picture: subsampled(picture, "4:4:0"),
        lambda picture: subsampled(picture, "4:1:1"),
        lambda picture: saved(picture, "JPEG", quality=95, keep_rgb=True),
    ],
    ids=["4:4:4", "4:4:4 progressive", "4:2:2", "4:4:0", "4:1:1", "RGB"],
)
def test_other_chroma_comes_out_as_pillow_makes_it(size: tuple[int, int], code: Callable[[Image.Image], bytes]) -> None:
    """Chroma that is coded otherwise than it is written is resampled just as Pillow does it."""
    data = code(image(scene()).resize(size))
    again, meant = opened(coded(data, size)), opened(encode(opened(data), Options(quality=90)))
    assert (again.size, again.mode) == (size, "RGB")
    # Another version of the same library may round otherwise.
    assert max(ImageChops.difference(again, meant).tobytes()) <= 2
    assert get_sampling(again) == get_sampling(meant) == 2, "4:2:0"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(saved(image(scene()).convert("CMYK"), "JPEG"), id="CMYK"),
        pytest.param(saved(image(scene()), "PNG"), id="no JPEG"),
        pytest.param(PHOTOGRAPH[: len(PHOTOGRAPH) // 2], id="cut short"),
        pytest.param(PHOTOGRAPH[:300], id="without pixels"),
        pytest.param(PHOTOGRAPH.replace(b"\xff\xdb", b"\xff\xfe"), id="without tables"),
        pytest.param(b"", id="empty"),
    ],
)
def test_what_is_not_plain_is_left_to_pillow(data: bytes) -> None:
    """Other kinds of JPEG, and every damaged one, get no answer here, whichever photographs come before and after."""
    assert coded(PHOTOGRAPH)
    assert turbo.transcode(data, SIZE, 50) is None
    assert coded(PHOTOGRAPH)


def test_a_size_that_the_decoder_does_not_confirm_is_left_to_pillow() -> None:
    """Memory is laid out for the size that was judged: another size in the decoder's eyes ends here."""
    assert turbo.transcode(PHOTOGRAPH, (SIZE[0], SIZE[1] + 1), 50) is None


def test_threads_do_not_share_memory() -> None:
    """Each thread has a decoder, an encoder and planes of its own."""
    shades = [saved(image(grey(scene()) * share), "JPEG", quality=95) for share in (0.2, 0.5, 1.0)]
    alone = [coded(data) for data in shades]
    together = threading.Barrier(len(shades))

    def many(number: int) -> set[bytes]:
        together.wait(timeout=10)
        return {coded(shades[number]) for _ in range(200)}

    with ThreadPoolExecutor(len(shades)) as threads:
        assert list(threads.map(many, range(len(shades)))) == [{one} for one in alone]


def test_without_the_library_pillow_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without libturbojpeg makes the same pictures, only slower."""
    monkeypatch.setattr(libturbojpeg, "NAME", "libturbojpeg-that-is-not-installed.so")
    turbo._codec.cache_clear()
    try:
        assert not turbo.available()
        assert_same(pixels(pressed(PHOTOGRAPH)), scene(), similar=0.95)
    finally:
        turbo._codec.cache_clear()
