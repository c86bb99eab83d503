"""The functions of libturbojpeg that `turbo` calls, and the numbers of turbojpeg.h that go with them.

Called through ctypes: PyTurboJPEG wants libjpeg-turbo 3, which Debian does not have yet, and numpy. The functions are
those of TurboJPEG 2.1, which 3.x keeps (https://libjpeg-turbo.org/Documentation).
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import POINTER, c_char_p, c_int, c_ulong, c_void_p
from types import SimpleNamespace
from typing import Any, Final

# The library is the system's (Debian: libturbojpeg0). Its soname has been the same since 2010.
NAME: Final = "libturbojpeg.0.dylib" if sys.platform == "darwin" else "libturbojpeg.so.0"

SAMP_420, SAMP_GRAY = 2, 3
CS_RGB, CS_YCBCR, CS_GRAY = 0, 1, 2
PIXELS_RGB: Final = 0
NO_REALLOC, ACCURATE, STOP_ON_WARNING, LIMIT_SCANS = 1024, 4096, 8192, 32768

_BYTES: Final = (c_char_p, c_ulong)
_GROWING: Final = (POINTER(c_void_p), POINTER(c_ulong))
# What is called: the type of the result, then those of the arguments.
_QUICK: Final[dict[str, tuple[Any, ...]]] = {
    "tjInitDecompress": (c_void_p,),
    "tjInitCompress": (c_void_p,),
    "tjDestroy": (c_int, c_void_p),
    "tjBufSizeYUV2": (c_ulong, *[c_int] * 4),
    "tjBufSize": (c_ulong, *[c_int] * 3),
    "tjDecompressHeader3": (c_int, c_void_p, *_BYTES, *[POINTER(c_int)] * 4),
}
_WORKING: Final[dict[str, tuple[Any, ...]]] = {
    "tjDecompressToYUV2": (c_int, c_void_p, *_BYTES, c_void_p, *[c_int] * 4),
    "tjCompressFromYUV": (c_int, c_void_p, c_void_p, *[c_int] * 4, *_GROWING, c_int, c_int),
    "tjDecompress2": (c_int, c_void_p, *_BYTES, c_void_p, *[c_int] * 5),
    "tjCompress2": (c_int, c_void_p, c_void_p, *[c_int] * 4, *_GROWING, *[c_int] * 3),
}


def load(name: str) -> Any:
    """Return the functions of the library `name`; raises OSError where it is not installed.

    Other threads run during those that take their time. For one of a microsecond the lock of the interpreter is kept:
    to get it back takes longer.
    """
    functions = {}
    for library, declared in ((ctypes.PyDLL(name), _QUICK), (ctypes.CDLL(name), _WORKING)):
        for function, (result, *arguments) in declared.items():
            functions[function] = getattr(library, function)
            functions[function].restype, functions[function].argtypes = result, arguments
    return SimpleNamespace(**functions)
