"""PNGs written chunk by chunk, of kinds that Pillow reads, but does not write."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from .pictures import Floats


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG (W3C PNG, section 5.3)."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def deep_png(colour_type: int, samples: Floats, *chunks: bytes) -> bytes:
    """A PNG of 16 bits a sample (W3C PNG, section 11.2), with further `chunks` behind its header."""
    height, width, _ = samples.shape
    rows = np.rint(samples * 257).astype(">u2").tobytes()
    line = len(rows) // height
    packed = zlib.compress(b"".join(b"\0" + rows[at : at + line] for at in range(0, len(rows), line)))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
