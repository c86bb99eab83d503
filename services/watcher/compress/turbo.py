"""JPEG to JPEG by libjpeg-turbo's own interface, without leaving the planes that photographs are coded in.

Pillow decodes a photograph to RGB of four bytes a pixel, and its encoder turns that into luma and chroma again. Here
the planes go from the one to the other: about half of the time, 1.5 bytes a pixel, and chroma is not resampled twice.
Where chroma is coded otherwise than it is written (4:2:0), RGB is made here, too: of three bytes, and copied once less.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
from ctypes import byref, c_int, c_ulong, c_void_p
from functools import cache
from typing import Any, Final

from . import libturbojpeg as tj

# Half chroma and no chroma: what nearly all photographs on the web have.
_PLAIN: Final = frozenset({(tj.SAMP_420, tj.CS_YCBCR), (tj.SAMP_GRAY, tj.CS_GRAY)})
_COLOURED: Final = frozenset({tj.CS_YCBCR, tj.CS_RGB})
# Accurate: what Pillow asks for, too. A complaint is for Pillow to judge; so is a bomb of scans.
_DECODE: Final = tj.ACCURATE | tj.STOP_ON_WARNING | tj.LIMIT_SCANS
_ENCODE: Final = tj.ACCURATE | tj.NO_REALLOC
_UNPADDED: Final = 1  # bytes to a multiple of which the lines of a plane are filled up
_AS_WIDE: Final = 0  # lines of pixels follow each other without a gap
_RGB_BYTES: Final = 3

# Memory that a thread keeps from picture to picture, since fresh pages cost time: enough for 4 megapixels.
_KEPT_BYTES: Final = 20 << 20


def available() -> bool:
    """Return whether the library is there; without it every picture goes through Pillow."""
    return _codec() is not None


def transcode(data: bytes, size: tuple[int, int], quality: int) -> bytes | None:
    """Return the JPEG `data`, of `size` pixels (width, height), encoded again at `quality` (1 to 100).

    Grey stays grey, colours are written in 4:2:0. None where this is not the way: the library is missing, the picture
    is neither grey nor YCbCr nor RGB, or its data gave reason to complain. May be called from several threads at once.
    """
    codec = _codec()
    return codec.transcode(data, size, quality) if codec else None


class _Codec(threading.local):
    """A decoder and an encoder, and their memory, which a thread keeps for as long as it lives."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._told = [c_int() for _ in range(4)]
        self._tell = [byref(number) for number in self._told]
        self._kept = _Memory(mmap.PAGESIZE)

    def transcode(self, data: bytes, size: tuple[int, int], quality: int) -> bytes | None:
        # New ones for each picture take a microsecond. Old ones would decode it by the last one's tables, had it none.
        self._decoder, self._encoder = self._library.tjInitDecompress(), self._library.tjInitCompress()
        try:
            return self._transcoded(data, size, quality)
        finally:
            self._library.tjDestroy(self._decoder)
            self._library.tjDestroy(self._encoder)

    def _transcoded(self, data: bytes, size: tuple[int, int], quality: int) -> bytes | None:
        if self._library.tjDecompressHeader3(self._decoder, data, len(data), *self._tell):
            return None
        width, height, sampling, space = [number.value for number in self._told]
        if (width, height) != size:
            return None
        if (sampling, space) in _PLAIN:
            return self._by_planes(data, size, sampling, quality)
        return self._by_pixels(data, size, quality) if space in _COLOURED else None

    def _by_planes(self, data: bytes, size: tuple[int, int], sampling: int, quality: int) -> bytes | None:
        """Take the planes as they are coded, and code them again."""
        width, height = size
        planes = self._library.tjBufSizeYUV2(width, _UNPADDED, height, sampling)
        memory, pressed, taken = self._room(planes, size, sampling)
        layout = memory.address, width, _UNPADDED, height
        failed = self._library.tjDecompressToYUV2(self._decoder, data, len(data), *layout, _DECODE)
        failed = failed or self._library.tjCompressFromYUV(
            self._encoder, *layout, sampling, byref(pressed), byref(taken), quality, _ENCODE
        )
        return None if failed else memory.content[planes : planes + taken.value]

    def _by_pixels(self, data: bytes, size: tuple[int, int], quality: int) -> bytes | None:
        """Decode to RGB, from whichever subsampling, and encode to 4:2:0."""
        width, height = size
        pixels = _RGB_BYTES * width * height
        memory, pressed, taken = self._room(pixels, size, tj.SAMP_420)
        layout = memory.address, width, _AS_WIDE, height, tj.PIXELS_RGB
        failed = self._library.tjDecompress2(self._decoder, data, len(data), *layout, _DECODE)
        failed = failed or self._library.tjCompress2(
            self._encoder, *layout, byref(pressed), byref(taken), tj.SAMP_420, quality, _ENCODE
        )
        return None if failed else memory.content[pixels : pixels + taken.value]

    def _room(self, between: int, size: tuple[int, int], sampling: int) -> tuple[_Memory, c_void_p, c_ulong]:
        """Return memory for what is `between` the codecs and, behind that, for the file: its address and its size.

        Of more than `_KEPT_BYTES` nothing is kept. Untouched pages cost nothing.
        """
        most = self._library.tjBufSize(*size, sampling)
        memory, wanted = self._kept, between + most
        if wanted > memory.size:
            memory = _Memory(wanted)
            if wanted <= _KEPT_BYTES:
                self._kept = memory
        return memory, c_void_p(memory.address + between), c_ulong(most)


class _Memory:
    """Memory of `size` bytes, with its address."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.content = mmap.mmap(-1, size)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.content))


@cache
def _codec() -> _Codec | None:
    """Load the library, at the first picture; None where it is not installed."""
    try:
        return _Codec(tj.load(tj.NAME))
    except OSError:
        return None
