"""An AVIF file is judged by what its coded data says, whatever its boxes claim."""

from __future__ import annotations

import struct

import pytest
from PIL import Image

from imagepress.errors import ImageError
from services.watcher.compress import Options, compress
from services.watcher.compress.coded import avif_pixels
from services.watcher.compress.inspect import opened
from tests.support.engine.bits import bits
from tests.support.engine.pictures import MAX_PIXELS, header, image, saved, scene

WIDTH, HEIGHT = 160, 112
PLAIN = saved(image(scene(WIDTH, HEIGHT)), "AVIF")
CLEAR = saved(Image.new("RGBA", (WIDTH, HEIGHT), (9, 8, 7, 6)), "AVIF")
FILM = saved(Image.new("RGBA", (64, 48)), "AVIF", save_all=True, append_images=[Image.new("RGBA", (64, 48), "red")] * 3)


def unit(kind: int, content: bytes) -> bytes:
    """An open bitstream unit with a size field."""
    return bytes((kind << 3 | 2, len(content))) + content


SIZE = ((4, 7), (4, 6), (8, WIDTH - 1), (7, HEIGHT - 1))
NO_TIMING = ((1, 0), (1, 0), (5, 0), (12, 0), (5, 0))
TIMING = (
    (1, 1), (32, 1), (32, 1), (1, 0),  # timing, its intervals not equal
    (1, 1), (5, 3), (32, 1), (5, 4), (5, 6),  # decoder model: presentation times have 7 bits
    (1, 1), (5, 1),  # initial delays, two operating points
    (12, 0), (5, 9), (1, 0), (1, 1), (9, 0), (1, 1), (4, 2),
    (12, 0), (5, 2), (1, 0), (1, 0),
)  # fmt: skip
NO_IDS, IDS = ((1, 0),), ((1, 1), (4, 2), (3, 1))
TOOLS = ((3, 0), (4, 0))
NO_ORDER, ORDER = ((1, 0),), ((1, 1), (2, 0))
# (header behind "not reduced", what a key frame with a size of its own states up to the flag)
SEQUENCES = {
    "plain": ((*NO_TIMING, *SIZE, *NO_IDS, *TOOLS, *NO_ORDER, (1, 0), (1, 0)), ((1, 0), (2, 0), (1, 1), (1, 0))),
    "timing": (
        (*TIMING, *SIZE, *NO_IDS, *TOOLS, *ORDER, (1, 0), (1, 0)),
        ((1, 0), (2, 0), (1, 1), (7, 0x55), (1, 0)),
    ),
    "frame numbers": (
        (*NO_TIMING, *SIZE, *IDS, *TOOLS, *NO_ORDER, (1, 0), (1, 0)),
        ((1, 0), (2, 0), (1, 1), (1, 0), (6, 0x2A)),
    ),
    "screen content by frame": (
        (*NO_TIMING, *SIZE, *NO_IDS, *TOOLS, *NO_ORDER, (1, 1), (1, 1)),
        ((1, 0), (2, 0), (1, 1), (1, 0), (1, 1), (1, 0)),
    ),
    "motion as the sequence says": (
        (*NO_TIMING, *SIZE, *NO_IDS, *TOOLS, *NO_ORDER, (1, 0), (1, 1), (1, 0), (1, 1)),
        ((1, 0), (2, 0), (1, 1), (1, 0)),
    ),
    "hidden frame": (
        (*NO_TIMING, *SIZE, *NO_IDS, *TOOLS, *NO_ORDER, (1, 0), (1, 0)),
        ((1, 0), (2, 0), (1, 0), (1, 1), (1, 1), (1, 0)),
    ),
}  # fmt: skip


def avif_of(coded: bytes) -> bytes:
    """An AVIF file whose one item is `coded`."""
    at = PLAIN.index(b"mdat") + 4
    head = bytearray(PLAIN[:at])
    where = head.index(b"iloc")
    struct.pack_into(">I", head, where + 22, len(coded))
    struct.pack_into(">I", head, at - 8, len(coded) + 8)
    return bytes(head) + coded


@pytest.mark.parametrize(("data", "pixels"), [(PLAIN, WIDTH * HEIGHT), (CLEAR, WIDTH * HEIGHT), (FILM, 64 * 48)])
def test_honest_files_are_as_large_as_they_say(data: bytes, pixels: int) -> None:
    """A still picture, one with an alpha channel and a film of several frames count the pixels of one picture."""
    assert avif_pixels(data) == pixels


def test_a_file_that_claims_to_be_smaller_than_it_is_is_refused() -> None:
    """A picture of 2,100 x 2,100 in a file that says 160 x 112 is refused by its header, unless there is room."""
    honest = saved(Image.new("RGB", (2100, 2100)), "AVIF", speed=10)
    lie = honest.replace(struct.pack(">II", 2100, 2100), struct.pack(">II", WIDTH, HEIGHT))
    assert lie != honest
    for work in (opened, compress):
        with pytest.raises(ImageError, match="4410000 pixels") as refused:
            work(lie, Options(), max_pixels=MAX_PIXELS)
        assert refused.value.code == "too_many_pixels"
    assert header(lie, max_pixels=6_000_000)[-1] > 4_410_000


@pytest.mark.parametrize(("sequence", "frame"), SEQUENCES.values(), ids=SEQUENCES)
@pytest.mark.parametrize("kind", [3, 6])
def test_a_frame_with_a_size_of_its_own_counts_as_large_as_its_bits_allow(
    sequence: tuple[tuple[int, int], ...], frame: tuple[tuple[int, int], ...], kind: int
) -> None:
    """Frames may override the size of their sequence: with 8 and 7 bits, up to 256 x 128."""
    header = unit(1, bits((3, 0), (1, 0), (1, 0), *sequence))
    for override, pixels in ((0, WIDTH * HEIGHT), (1, 256 * 128)):
        coded = header + unit(kind, bits(*frame, (1, override)))
        assert avif_pixels(avif_of(coded)) == pixels


REDUCED = unit(1, bits((3, 0), (1, 1), (1, 1), (5, 0), *SIZE))


@pytest.mark.parametrize(
    ("coded", "pixels"),
    [
        (REDUCED, WIDTH * HEIGHT),
        (REDUCED + unit(6, b"\xff" * 20), WIDTH * HEIGHT),
        (bytes((1 << 3 | 4, 0)) + REDUCED[2:], WIDTH * HEIGHT),
        (REDUCED + unit(1, bits((3, 0), (1, 1), (1, 1), (5, 0), (4, 9), (4, 9), (10, 999), (10, 499))), 500_000),
        (unit(2, b""), 0),
    ],
    ids=["sequence alone", "reduced leaves no choice", "without size", "the larger of two", "no sequence"],
)
def test_the_largest_sequence_counts(coded: bytes, pixels: int) -> None:
    """Every sequence header of an item is read, with or without a size field."""
    assert avif_pixels(avif_of(coded)) == pixels


DAMAGED = {
    "no places": PLAIN.replace(b"iloc", b"iloX"),
    "countless units": avif_of(unit(2, b"") * 10_001),
    "empty header": avif_of(unit(1, b"")),
    "endless size": avif_of(b"\x0a" + b"\xff" * 9),
    "box of no size": PLAIN.replace(b"\0\0\0\x1eiloc", b"\0\0\0\x02iloc"),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_what_makes_no_sense_is_corrupt(data: bytes) -> None:
    """A file whose boxes or units cannot be followed is refused without being decoded."""
    with pytest.raises(ImageError) as refused:
        header(data)
    assert refused.value.code == "corrupt"
