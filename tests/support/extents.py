"""Whether a file's bytes have their place on the disk yet: what the kernel tells of its extents (FIEMAP).

https://docs.kernel.org/filesystems/fiemap.html
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import Final

_FIEMAP: Final = 0xC020660B
_HEADER: Final = "=QQLLLL"  # start, length, flags, mapped extents, room for extents, reserved
_EXTENT: Final = "=QQQQQLLLL"  # logical, physical, length, 2 reserved, flags, 3 reserved
_DELAYED_ALLOCATION: Final = 0x4
_MOST_EXTENTS: Final = 8


def waits_in_memory(path: Path) -> bool:
    """Tell whether any of a small file is still to be allocated; never true where the file system cannot tell."""
    room = struct.pack(_HEADER, 0, 2**64 - 1, 0, 0, _MOST_EXTENTS, 0)
    room += bytes(struct.calcsize(_EXTENT) * _MOST_EXTENTS)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        answer = fcntl.ioctl(descriptor, _FIEMAP, room)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY):
            return False
        raise
    finally:
        os.close(descriptor)
    mapped = struct.unpack_from(_HEADER, answer)[3]
    at = struct.calcsize(_HEADER)
    extents = struct.iter_unpack(_EXTENT, answer[at : at + mapped * struct.calcsize(_EXTENT)])
    return any(extent[5] & _DELAYED_ALLOCATION for extent in extents)
