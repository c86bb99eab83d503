"""AVIF: metadata is woven into the file by offsets, so a file is only passed on when it provably carries none.

Every box must be one that a picture needs, every item a coded picture, and every byte of the media data must belong to
an item (ISO/IEC 14496-12, section 8.11; AV1 Image File Format 1.1).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

_TOP: Final = frozenset({b"ftyp", b"meta", b"mdat"})
_META: Final = frozenset({b"hdlr", b"pitm", b"iloc", b"iinf", b"iref", b"iprp"})
_PICTURES: Final = frozenset({b"av01", b"grid"})
_PROPERTIES: Final = frozenset(
    {b"ispe", b"pixi", b"av1C", b"colr", b"auxC", b"pasp", b"clli", b"a1op", b"lsel", b"a1lx"}
)

Box = tuple[bytes, bytes]  # type and content


def bare_avif(data: bytes) -> bytes:
    """Return `data` itself if the AVIF file carries nothing but a picture; raises ValueError if it may carry more."""
    top = list(_boxes(data, _TOP))
    (meta,) = (content for kind, content in top if kind == b"meta")
    parts = dict(_boxes(meta[4:], _META))
    for _, entry in _boxes(parts[b"iinf"][6:], frozenset({b"infe"})):
        if entry[0] != 2 or entry[8:12] not in _PICTURES:
            raise ValueError("an item is no picture")
    _check_names(parts[b"iinf"], parts[b"hdlr"])
    properties = dict(_boxes(parts[b"iprp"], frozenset({b"ipco", b"ipma"})))
    list(_boxes(properties[b"ipco"], _PROPERTIES))
    if _located(parts[b"iloc"]) != sum(len(content) for kind, content in top if kind == b"mdat"):
        raise ValueError("bytes that belong to no item")
    return data


def _boxes(data: bytes, allowed: frozenset[bytes]) -> Iterator[Box]:
    """Yield the boxes that `data` consists of; raises ValueError at one that is not `allowed`."""
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind not in allowed or size < 8 or at + size > len(data):
            raise ValueError(f"unexpected box {kind!r}")
        yield kind, data[at + 8 : at + size]
        at += size


def _check_names(infos: bytes, handler: bytes) -> None:
    """Refuse free texts: encoders name items "Color" and "Alpha", and their handler after themselves at most."""
    for _, entry in _boxes(infos[6:], frozenset({b"infe"})):
        if len(entry) > 12 + 32:
            raise ValueError("a long item name")
    if len(handler) > 20 + 32 + 4:
        raise ValueError("a long handler name")


def _located(content: bytes) -> int:
    """Return the bytes that the item location box (version 0, 32-bit fields at most) assigns to items."""
    version, sizes, base, count = struct.unpack_from(">B3xBBH", content)
    offset_size, length_size, base_size = sizes >> 4, sizes & 15, base >> 4
    if version != 0 or {offset_size, length_size} - {4, 8}:
        raise ValueError("an item location box of a kind that encoders of still pictures do not write")
    at, total = 8, 0
    for _ in range(count):
        extents = int.from_bytes(content[at + 4 + base_size : at + 6 + base_size], "big")
        at += 6 + base_size
        for _ in range(extents):
            total += int.from_bytes(content[at + offset_size : at + offset_size + length_size], "big")
            at += offset_size + length_size
    return total
