from __future__ import annotations

import random

import pytest
from PIL.JpegImagePlugin import JpegImageFile

from imagepress.errors import ImageError
from services.watcher.compress.header import JpegHeader, jpeg_header
from services.watcher.compress.inspect import opened
from tests.support.engine.pictures import MAX_PIXELS, SHARP, exif, image, saved, scene, subsampled
from tests.support.engine.profiles import DISPLAY_P3, matrix_profile

SMALL = image(scene(24, 16))
PROFILE = matrix_profile(DISPLAY_P3, 2.2)
LADEN = saved(SMALL, "JPEG", exif=exif(6), icc_profile=PROFILE, comment=b"by hand", xmp=b"<x/>", dpi=(72, 72))
USUAL: dict[str, bytes] = {
    "colour": saved(SMALL, "JPEG"),
    "grey": saved(SMALL.convert("L"), "JPEG"),
    "progressive": saved(SMALL, "JPEG", progressive=True),
    "all that cameras write": LADEN,
    "RGB": saved(SMALL, "JPEG", keep_rgb=True),
    "restarts": saved(SMALL, "JPEG", restart_marker_rows=1),
    "several pictures": saved(SMALL, "MPO", save_all=True, append_images=[SMALL.rotate(180)]),
    "tall": saved(image(scene(1, 300)), "JPEG"),
    "odd chroma": subsampled(SMALL, "4:4:0"),
}


def as_pillow_reads(data: bytes) -> JpegHeader:
    """The same by Pillow's parser."""
    _, picture, _ = opened(data, SHARP, max_pixels=MAX_PIXELS)
    assert isinstance(picture, JpegImageFile)
    info = picture.info
    return JpegHeader(picture.size, picture.mode, "progressive" in info, info.get("exif", b""), info.get("icc_profile"))


@pytest.mark.parametrize("data", USUAL.values(), ids=USUAL)
def test_a_usual_header_says_what_pillow_reads_in_it(data: bytes) -> None:
    """Size, mode, coding, EXIF and profile are those that Pillow would find."""
    assert jpeg_header(data) == as_pillow_reads(data)


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


def begun_with(*segments: bytes) -> bytes:
    return LADEN[:2] + b"".join(segments) + LADEN[2:]


BARE = USUAL["colour"]
FRAME = LADEN.index(b"\xff\xc0\0\x11")


def with_frame(marker: int = 0xC0, bits: int = 8, height: int = 16, width: int = 24, components: int = 3) -> bytes:
    """The picture with another frame header."""
    told = bytes((0xFF, marker, 0, 17, bits)) + height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return LADEN[:FRAME] + told + bytes((components,)) + LADEN[FRAME + 10 :]


UNUSUAL: dict[str, bytes] = {
    "empty": b"",
    "no JPEG": saved(SMALL, "PNG"),
    "four inks": saved(SMALL.convert("CMYK"), "JPEG"),
    "arithmetic": with_frame(marker=0xC9),
    "lossless": with_frame(marker=0xC3),
    "12 bits": with_frame(bits=12),
    "no width": with_frame(width=0),
    "no height yet": with_frame(height=0),
    "two components": with_frame(components=2),
    "two frames": LADEN[:FRAME] + LADEN[FRAME : FRAME + 19] + LADEN[FRAME:],
    "no frame": LADEN[:FRAME] + LADEN[FRAME + 19 :],
    "two blocks of EXIF": begun_with(segment(0xE1, b"Exif\0\0II*\0")),
    "a profile in two pieces": begun_with(segment(0xE2, b"ICC_PROFILE\0\1\2abc")),
    "two profiles": begun_with(segment(0xE2, b"ICC_PROFILE\0\1\1abc")),
    "a profile behind the frame": BARE.replace(b"\xff\xda", segment(0xE2, b"ICC_PROFILE\0\1\1abc") + b"\xff\xda"),
    "filled up": begun_with(b"\xff"),
    "something in between": begun_with(b"\0"),
    "a marker without length": begun_with(b"\xff\x01"),
    "countless comments": begun_with(*[segment(0xFE, b"")] * 100),
}


@pytest.mark.parametrize("data", UNUSUAL.values(), ids=UNUSUAL)
def test_an_unusual_header_is_left_to_pillow(data: bytes) -> None:
    """What is not written to the letter, or says something twice, gets no answer."""
    assert jpeg_header(data) is None


def test_a_header_that_does_not_end_is_left_to_pillow() -> None:
    """Wherever the file is cut before its first scan, there is no answer, and none raises."""
    scan = LADEN.index(b"\xff\xda")
    assert [jpeg_header(LADEN[:end]) for end in range(scan + 4)] == [None] * (scan + 4)
    assert jpeg_header(LADEN[: scan + 4]) is not None


def test_a_damaged_header_never_says_what_pillow_does_not() -> None:
    """Of thousands of headers with a byte or two changed, each that is answered is read by Pillow likewise, or not."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201  # pytest shows it when the test fails
    rng, alike = random.Random(seed), 0
    for _ in range(2000):
        data = bytearray(LADEN)
        for _ in range(rng.randint(1, 2)):
            data[rng.randrange(2, 800)] = rng.choice((0, 1, 0xFF, rng.randrange(256)))
        told = jpeg_header(bytes(data))
        if told is None:
            continue
        try:
            meant = as_pillow_reads(bytes(data))
        except ImageError:  # of its tables, which libjpeg will refuse as well
            continue
        assert told == meant
        alike += 1
    assert alike > 600
