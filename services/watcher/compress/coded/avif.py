"""How large the pictures coded in an AVIF file are: its boxes may say less, and the decoder believes the coded data.

Looked for where libavif looks: in the items that the item location box names, and in the first sample of each track
(ISO/IEC 14496-12, sections 8.7 and 8.11).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from .av1 import frame_pixels

# A photograph of a telephone in a grid has some fifty tiles of three units each. More would hold up the event loop.
_MOST_UNITS: Final = 10_000
_IN_ITEM_DATA_BOX: Final = 1  # construction_method (8.11.3)
_INSIDE: Final = frozenset({b"trak", b"mdia", b"minf", b"stbl"})

Extent = tuple[int, int]  # offset and length, in bytes


def coded_pixels(data: bytes) -> int:
    """Return the pixels that decoding the AVIF file `data` will ask memory for, 0 where none is found.

    That is the largest coded picture or, where there are many (tiles of a grid), half of all: an alpha channel is a
    second picture of the same size. Raises ValueError, IndexError or struct.error where the file makes no sense.
    """
    view = memoryview(data)
    units = iter(range(_MOST_UNITS))
    claimed = 0
    for kind, content in _boxes(view):
        # A file of several frames holds its first both as an item and in a track; only one of them is decoded.
        sizes = [frame_pixels(stream, units) for stream in _streams(view, kind, content)]
        claimed = max(claimed, sum(sizes) // 2, *sizes)
    return claimed


def _streams(view: memoryview, kind: bytes, content: memoryview) -> Iterator[memoryview]:
    """Yield the coded data of each picture that a box at the top of the file tells of."""
    if kind == b"meta":
        yield from _items(view, dict(_boxes(content[4:])))
    elif kind == b"moov":
        yield from _first_samples(view, content)


def _boxes(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield type and content of the boxes in `view` (4.2), for as long as they make sense."""
    at = 0
    while at + 8 <= len(view):
        size, kind = struct.unpack_from(">I4s", view, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", view, at + 8)
            head = 16
        elif size == 0:
            size = len(view) - at
        if size < head:
            raise ValueError(f"the box {kind!r} has no size")
        yield kind, view[at + head : at + size]
        at += size


def _items(view: memoryview, meta: dict[bytes, memoryview]) -> Iterator[memoryview]:
    """Yield the data of each coded item."""
    if not {b"iinf", b"iloc"} <= meta.keys():
        return
    pictures = set(_coded_items(meta[b"iinf"]))
    for item, method, extents in _located(meta[b"iloc"]):
        if item in pictures:
            source = meta[b"idat"] if method == _IN_ITEM_DATA_BOX else view
            pieces = [source[offset : offset + length] if length else source[offset:] for offset, length in extents]
            if sum(map(len, pieces)) > len(view):
                raise ValueError("an item is larger than the file")
            yield pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))


def _coded_items(info: memoryview) -> Iterator[int]:
    """Yield the numbers of the items that are coded in AV1 (8.11.6)."""
    for kind, entry in _boxes(info[6 if info[0] == 0 else 8 :]):
        if kind == b"infe" and entry[0] >= 2:
            wide = entry[0] >= 3
            if bytes(entry[8 + 2 * wide : 12 + 2 * wide]) == b"av01":
                yield int.from_bytes(entry[4 : 6 + 2 * wide], "big")


def _located(content: memoryview) -> Iterator[tuple[int, int, list[Extent]]]:
    """Yield number, construction method and extents of each item (8.11.3)."""
    fields = _Fields(content, 6)
    version, offset_size, length_size = content[0], content[4] >> 4, content[4] & 15
    base_size, index_size = content[5] >> 4, content[5] & 15 if version else 0
    number_size = 4 if version >= 2 else 2
    for _ in range(fields.take(number_size)):
        item = fields.take(number_size)
        method = fields.take(2) & 15 if version else 0
        fields.take(2)  # data_reference_index
        base = fields.take(base_size)
        extents = []
        for _ in range(fields.take(2)):
            fields.take(index_size)
            extents.append((base + fields.take(offset_size), fields.take(length_size)))
        yield item, method, extents


def _first_samples(view: memoryview, content: memoryview) -> Iterator[memoryview]:
    """Yield the first sample of each track: no other is decoded, and it has to be a key frame."""
    for kind, inner in _boxes(content):
        if kind == b"trak" and (table := _sample_table(inner)):
            wide = b"co64" in table
            chunks = table[b"co64" if wide else b"stco"]
            offset = int.from_bytes(chunks[8 : 16 if wide else 12], "big")
            size, first = int.from_bytes(table[b"stsz"][4:8], "big"), int.from_bytes(table[b"stsz"][12:16], "big")
            yield view[offset : offset + (size or first)]


def _sample_table(track: memoryview) -> dict[bytes, memoryview]:
    """Return the boxes of the sample table in `track` by their types; empty where there is none."""
    for kind, content in _boxes(track):
        if kind == b"stbl":
            return dict(_boxes(content))
        if kind in _INSIDE and (found := _sample_table(content)):
            return found
    return {}


class _Fields:
    """Numbers of whole bytes, one after the other; IndexError beyond the end."""

    def __init__(self, content: memoryview, at: int) -> None:
        self._content = content
        self._at = at

    def take(self, size: int) -> int:
        end = self._at + size
        if end > len(self._content):
            raise IndexError("a table ends early")
        value = int.from_bytes(self._content[self._at : end], "big")
        self._at = end
        return value
