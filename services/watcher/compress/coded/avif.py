"""How large the pictures coded in an AVIF file are: its boxes may say less, and the decoder believes the coded data.

Looked for where libavif looks: in the items that the item location box names, and in the first sample of each track
(ISO/IEC 14496-12, sections 8.7 and 8.11).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .av1 import frame_pixels
from .container import boxes, coded_items

# A photograph of a telephone in a grid has some fifty tiles of three units each. More would hold up the event loop.
_MOST_UNITS: Final = 10_000
_INSIDE: Final = frozenset({b"trak", b"mdia", b"minf", b"stbl"})


def avif_pixels(data: bytes) -> int:
    """Return the pixels that decoding the AVIF file `data` will ask memory for, 0 where none is found.

    That is the largest coded picture or, where there are many (tiles of a grid), half of all: an alpha channel is a
    second picture of the same size. Raises ValueError, IndexError or struct.error where the file makes no sense.
    """
    view = memoryview(data)
    units = iter(range(_MOST_UNITS))
    claimed = 0
    for kind, content in boxes(view):
        # A file of several frames holds its first both as an item and in a track; only one of them is decoded.
        sizes = [frame_pixels(stream, units) for stream in _streams(view, kind, content)]
        claimed = max(claimed, sum(sizes) // 2, *sizes)
    return claimed


def _streams(view: memoryview, kind: bytes, content: memoryview) -> Iterator[memoryview]:
    """Yield the coded data of each picture that a box at the top of the file tells of."""
    if kind == b"meta":
        yield from coded_items(view, content, b"av01")
    elif kind == b"moov":
        yield from _first_samples(view, content)


def _first_samples(view: memoryview, content: memoryview) -> Iterator[memoryview]:
    """Yield the first sample of each track: no other is decoded, and it has to be a key frame."""
    for kind, inner in boxes(content):
        if kind == b"trak" and (table := _sample_table(inner)):
            wide = b"co64" in table
            chunks = table[b"co64" if wide else b"stco"]
            offset = int.from_bytes(chunks[8 : 16 if wide else 12], "big")
            size, first = int.from_bytes(table[b"stsz"][4:8], "big"), int.from_bytes(table[b"stsz"][12:16], "big")
            yield view[offset : offset + (size or first)]


def _sample_table(track: memoryview) -> dict[bytes, memoryview]:
    """Return the boxes of the sample table in `track` by their types; empty where there is none."""
    for kind, content in boxes(track):
        if kind == b"stbl":
            return dict(boxes(content))
        if kind in _INSIDE and (found := _sample_table(content)):
            return found
    return {}
