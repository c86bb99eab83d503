"""Boxes of an AVIF or HEIC file, and the coded items that they tell of (ISO/IEC 14496-12, sections 4.2 and 8.11)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

_IN_ITEM_DATA_BOX: Final = 1  # construction_method (8.11.3)

Extent = tuple[int, int]  # offset and length, in bytes


def boxes(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield type and content of the boxes in `view` (4.2).

    Raises ValueError, IndexError or struct.error where they make no sense.
    """
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


def coded_items(view: memoryview, content: memoryview, codec: bytes) -> Iterator[memoryview]:
    """Yield the data of each item coded in `codec` that the meta box `content` in the file `view` tells of."""
    meta = dict(boxes(content[4:]))
    if not {b"iinf", b"iloc"} <= meta.keys():
        return
    pictures = set(_numbers(meta[b"iinf"], codec))
    for item, method, extents in _located(meta[b"iloc"]):
        if item in pictures:
            source = meta[b"idat"] if method == _IN_ITEM_DATA_BOX else view
            pieces = [source[offset : offset + length] if length else source[offset:] for offset, length in extents]
            if sum(map(len, pieces)) > len(view):
                raise ValueError("an item is larger than the file")
            yield pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))


def _numbers(info: memoryview, codec: bytes) -> Iterator[int]:
    """Yield the numbers of the items that are coded in `codec` (8.11.6)."""
    for kind, entry in boxes(info[6 if info[0] == 0 else 8 :]):
        if kind == b"infe" and entry[0] >= 2:
            wide = entry[0] >= 3
            if bytes(entry[8 + 2 * wide : 12 + 2 * wide]) == codec:
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
