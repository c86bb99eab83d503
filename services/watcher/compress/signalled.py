"""Colours told by code points (ITU-T H.273) instead of a profile: the `cICP` of a PNG, the `nclx` of AVIF and HEIC.

Each pair of primaries and transfer becomes an ICC profile, so that one way leads to sRGB. Of pictures for HDR screens
(PQ, HLG) what is up to the white of paper is shown as it is, and what is brighter becomes white: ITU-R BT.2408.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from .coded.container import boxes
from .strip.png import chunks

CodePoints = tuple[int, int]  # ColourPrimaries, TransferCharacteristics

# Red, green and blue to XYZ, adapted to D50 (computed after B. Lindbloom, "RGB/XYZ Matrices", with Bradford's).
_PRIMARIES: Final = {
    1: ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)),  # BT.709, sRGB
    9: ((0.67349, 0.27904, -0.00193), (0.16566, 0.67535, 0.02998), (0.12504, 0.04561, 0.79686)),  # BT.2020
    12: ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)),  # Display P3
}
_D50: Final = (0.9642, 1.0, 0.8249)
_PAPER_NITS: Final = 203  # white of paper under PQ (BT.2408, table 1)
_PAPER_HLG: Final = 0.265  # its scene light under HLG: a signal of 75 %
_CICP_BYTES: Final = 16  # two code points, matrix and range, behind length and type, before a checksum
_STEPS: Final = 4096  # of a curve: PQ's dark end is steep


def signalled_profile(name: str, data: bytes) -> bytes | None:
    """Return an ICC profile for what `data`, a file of format `name`, says of its colours; None for sRGB or nothing."""
    try:
        points = _of_png(data) if name == "PNG" else _of_boxes(data) if name in ("AVIF", "HEIF") else None
    except (ValueError, IndexError, struct.error):
        return None  # like a broken profile
    return _profile(points) if points else None


def _of_png(data: bytes) -> CodePoints | None:
    """Read the cICP chunk (W3C PNG, third edition, 11.3.2.6), which stands before the pixels."""
    for kind, chunk in chunks(data):
        if kind == b"cICP" and len(chunk) == _CICP_BYTES:
            return chunk[8], chunk[9]
        if kind == b"IDAT":
            break
    return None


def _of_boxes(data: bytes) -> CodePoints | None:
    """Read the first colour information property with code points (ISO/IEC 23008-12, 6.5.5)."""
    content = memoryview(data)
    for kind, skipped in ((b"meta", 0), (b"iprp", 4), (b"ipco", 0)):
        content = dict(boxes(content[skipped:])).get(kind, content[:0])
    for kind, colour in boxes(content):
        if kind == b"colr" and bytes(colour[:4]) == b"nclx":
            primaries, transfer = struct.unpack_from(">HH", colour, 4)
            return primaries, transfer
    return None


def _pq(value: float) -> float:
    """SMPTE ST 2084, to light of which 1 is white paper."""
    root = value ** (1 / 78.84375)
    light = max(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
    return 10_000 / _PAPER_NITS * math.pow(light, 1 / 0.1593017578125)


def _hlg(value: float) -> float:
    """ITU-R BT.2100, each channel alone, with the gamma of a screen of 1,000 nits."""
    light = value * value / 3 if value <= 0.5 else (math.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return math.pow(light / _PAPER_HLG, 1.2)


def _srgb(value: float) -> float:
    """IEC 61966-2-1; also for BT.709 and BT.2020, as browsers show stills of these."""
    return value / 12.92 if value <= 0.04045 else math.pow((value + 0.055) / 1.055, 2.4)


_TRANSFERS: Final[dict[int, Callable[[float], float]]] = {
    **dict.fromkeys((1, 2, 6, 13, 14, 15), _srgb),
    4: lambda value: value**2.2,
    5: lambda value: value**2.8,
    8: lambda value: value,
    16: _pq,
    18: _hlg,
}


@lru_cache(maxsize=16)
def _profile(points: CodePoints) -> bytes | None:
    """Return the ICC profile of `points`; None for sRGB, and for what is not known."""
    primaries, transfer = 1 if points[0] == 2 else points[0], _TRANSFERS.get(points[1])
    if primaries not in _PRIMARIES or transfer is None or (primaries == 1 and transfer is _srgb):
        return None
    light = [min(max(transfer(step / (_STEPS - 1)), 0), 1) for step in range(_STEPS)]
    curve = struct.pack(f">4s4xI{_STEPS}H", b"curv", _STEPS, *(round(65535 * value) for value in light))
    tags = {name: _xyz(values) for name, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), _PRIMARIES[primaries], strict=True)}
    return _packed(tags | {b"wtpt": _xyz(_D50)}, (b"rTRC", b"gTRC", b"bTRC"), curve)


def _xyz(values: tuple[float, float, float]) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *(round(value * 65536) for value in values))


def _packed(tags: dict[bytes, bytes], curves: tuple[bytes, ...], curve: bytes) -> bytes:
    """Return a display profile (ICC.1:2022, section 7) with `tags`, and one `curve` for all the `curves`."""
    at = 132 + 12 * (len(tags) + len(curves))
    entries, body = [], b""
    for name, content in tags.items():
        entries.append(struct.pack(">4sII", name, at + len(body), len(content)))
        body += content
    entries += [struct.pack(">4sII", name, at + len(body), len(curve)) for name in curves]
    body += curve
    white = (round(value * 65536) for value in _D50)
    kinds = (b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head = struct.pack(">I4xI4s4s4s12x4s28x3i48x", at + len(body), 0x02400000, *kinds, *white)
    return head + struct.pack(">I", len(entries)) + b"".join(entries) + body
