"""How large the pictures coded in a HEIC file are: libheif compares that with its boxes, but only after decoding.

Parameter sets stand in the configuration of each item (ISO/IEC 14496-15, 8.3.3.1) and may stand in its data as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .container import boxes, coded_items
from .hevc import picture_pixels

# Photographs have some fifty tiles, of a configuration with three units and one to four slices each.
_MOST_UNITS: Final = 10_000
_ARRAYS: Final = 22  # where the parameter sets begin in a configuration


def heic_pixels(data: bytes) -> int:
    """Return the pixels of the largest picture coded in the HEIC file `data`, 0 where none is found.

    Tiles of a grid are decoded one after the other. Raises ValueError, IndexError or struct.error where the file makes
    no sense.
    """
    view = memoryview(data)
    largest = 0
    for number, unit in enumerate(_units(view)):
        if number == _MOST_UNITS:
            raise ValueError("the coded picture consists of too many units")
        largest = max(largest, picture_pixels(unit))
    return largest


def _units(view: memoryview) -> Iterator[memoryview]:
    """Yield each unit (NAL unit) of all configurations and coded items."""
    for kind, content in boxes(view):
        if kind == b"meta":
            for configuration in _configurations(dict(boxes(content[4:])).get(b"iprp", view[:0])):
                yield from _parameter_sets(configuration)
            for item in coded_items(view, content, b"hvc1"):
                yield from _sized(item, 4)


def _configurations(properties: memoryview) -> Iterator[memoryview]:
    for kind, content in boxes(properties):
        if kind == b"ipco":
            yield from (configuration for name, configuration in boxes(content) if name == b"hvcC")


def _parameter_sets(configuration: memoryview) -> Iterator[memoryview]:
    """Yield the units of a configuration, which come in arrays of one type each."""
    at = _ARRAYS + 1
    for _ in range(configuration[_ARRAYS]):
        count = int.from_bytes(configuration[at + 1 : at + 3], "big")
        at += 3
        for unit in _sized(configuration[at:], 2, count):
            yield unit
            at += 2 + len(unit)


def _sized(data: memoryview, head: int, count: int | None = None) -> Iterator[memoryview]:
    """Yield units that each follow their size of `head` bytes: `count` of them, or all (None)."""
    at = 0
    while at + head <= len(data) and count != 0:
        size = int.from_bytes(data[at : at + head], "big")
        yield data[at + head : at + head + size]
        at += head + size
        count = None if count is None else count - 1
