"""JPEG to JPEG by libjpeg-turbo's own interface, without leaving the planes that photographs are coded in.

Pillow decodes a photograph to RGB of four bytes a pixel, and its encoder turns that into luma and chroma again. Here
the planes go from the one to the other: about half of the time, 1.5 bytes a pixel, and chroma is not resampled twice.

Called through ctypes, which lets other threads run meanwhile: PyTurboJPEG wants libjpeg-turbo 3, which Debian does not
have yet, and numpy. The functions are those of TurboJPEG 2.1, which 3.x keeps (https://libjpeg-turbo.org/Documentation).
"""

from __future__ import annotations

import ctypes
import mmap
import sys
import threading
from ctypes import POINTER, byref, c_char_p, c_int, c_ulong, c_void_p
from functools import cache
from itertools import accumulate
from typing import Any, Final

# The library is the system's (Debian: libturbojpeg0). Its soname has been the same since 2010.
_LIBRARY: Final = "libturbojpeg.0.dylib" if sys.platform == "darwin" else "libturbojpeg.so.0"

# turbojpeg.h of version 2.1. Half chroma and no chroma: what nearly all photographs on the web have.
_SAMP_420, _SAMP_GRAY = 2, 3
_CS_YCBCR, _CS_GRAY = 1, 2
_PLAIN: Final = frozenset({(_SAMP_420, _CS_YCBCR), (_SAMP_GRAY, _CS_GRAY)})
# Accurate: what Pillow asks for, too. A complaint is for Pillow to judge; so is a bomb of scans.
_NO_REALLOC, _ACCURATE, _STOP_ON_WARNING, _LIMIT_SCANS = 1024, 4096, 8192, 32768
_DECODE: Final = _ACCURATE | _STOP_ON_WARNING | _LIMIT_SCANS
_ENCODE: Final = _ACCURATE | _NO_REALLOC

# Memory that a thread keeps from picture to picture, since fresh pages cost time: enough for 4 megapixels.
_KEPT_BYTES: Final = 20 << 20

_Planes = c_void_p * 3
# What is called: the type of the result, then those of the arguments.
_FUNCTIONS: Final[dict[str, tuple[Any, ...]]] = {
    "tjInitDecompress": (c_void_p,),
    "tjInitCompress": (c_void_p,),
    "tjDestroy": (c_int, c_void_p),
    "tjPlaneSizeYUV": (c_ulong, *[c_int] * 5),
    "tjBufSize": (c_ulong, *[c_int] * 3),
    "tjDecompressHeader3": (c_int, c_void_p, c_char_p, c_ulong, *[POINTER(c_int)] * 4),
    "tjDecompressToYUVPlanes": (c_int, c_void_p, c_char_p, c_ulong, _Planes, c_int, c_void_p, c_int, c_int),
    "tjCompressFromYUVPlanes": (
        *(c_int, c_void_p, _Planes, c_int, c_void_p, c_int, c_int),
        *(POINTER(c_void_p), POINTER(c_ulong), c_int, c_int),
    ),
}


def available() -> bool:
    """Return whether the library is there; without it every picture goes through Pillow."""
    return _codec() is not None


def transcode(data: bytes, size: tuple[int, int], quality: int) -> bytes | None:
    """Return the JPEG `data`, of `size` pixels (width, height), encoded again at `quality` (1 to 100).

    None where this is not the way: the library is missing, the picture is neither grey nor of half chroma (4:2:0), or
    its data gave reason to complain. May be called from several threads at once.
    """
    codec = _codec()
    return codec.transcode(data, size, quality) if codec else None


class _Codec(threading.local):
    """A decoder, an encoder and their memory; one of each a thread, for as long as the thread lives."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._kept = mmap.mmap(-1, mmap.PAGESIZE)
        self._start()

    def _start(self) -> None:
        self._decoder = self._library.tjInitDecompress()
        self._encoder = self._library.tjInitCompress()

    def _start_anew(self) -> None:
        """Take a fresh decoder and encoder: after an error the old ones may stand in the middle of something."""
        self._library.tjDestroy(self._decoder)
        self._library.tjDestroy(self._encoder)
        self._start()

    def transcode(self, data: bytes, size: tuple[int, int], quality: int) -> bytes | None:
        sampling = self._sampling(data, size)
        if sampling is None:
            return None
        number = 1 if sampling == _SAMP_GRAY else 3
        planes = [self._library.tjPlaneSizeYUV(plane, size[0], 0, size[1], sampling) for plane in range(number)]
        *offsets, end = accumulate(planes, initial=0)
        room = self._library.tjBufSize(*size, sampling)
        memory = self._memory(end + room)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        starts = _Planes(*(address + offset for offset in offsets))
        taken = self._press(data, size, sampling, starts, (address + end, room), quality)
        if not taken:
            self._start_anew()
            return None
        return memory[end : end + taken]

    def _sampling(self, data: bytes, size: tuple[int, int]) -> int | None:
        """Return the chroma subsampling of a plain picture that has, for this decoder too, the `size` expected."""
        width, height, sampling, space = (c_int() for _ in range(4))
        found = self._library.tjDecompressHeader3(
            self._decoder, data, len(data), byref(width), byref(height), byref(sampling), byref(space)
        )
        if found != 0:
            self._start_anew()
            return None
        plain = (sampling.value, space.value) in _PLAIN and (width.value, height.value) == size
        return sampling.value if plain else None

    def _press(
        self, data: bytes, size: tuple[int, int], sampling: int, planes: Any, target: tuple[int, int], quality: int
    ) -> int:
        """Decode into `planes`, and encode from there to `target` (address, bytes); return the bytes written or 0."""
        width, height = size
        if self._library.tjDecompressToYUVPlanes(self._decoder, data, len(data), planes, width, None, height, _DECODE):
            return 0
        start, taken = c_void_p(target[0]), c_ulong(target[1])
        if self._library.tjCompressFromYUVPlanes(
            self._encoder, planes, width, None, height, sampling, byref(start), byref(taken), quality, _ENCODE
        ):
            return 0
        return taken.value

    def _memory(self, wanted: int) -> mmap.mmap:
        """Return at least `wanted` bytes; of more than `_KEPT_BYTES` nothing is kept. Untouched pages cost nothing."""
        if wanted > _KEPT_BYTES:
            return mmap.mmap(-1, wanted)
        if wanted > len(self._kept):
            self._kept = mmap.mmap(-1, wanted)
        return self._kept


@cache
def _codec() -> _Codec | None:
    """Load the library, at the first picture; None where it is not installed."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    for name, (result, *arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return _Codec(library)
