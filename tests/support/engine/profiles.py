"""ICC profiles written byte by byte (ICC.1:2022, sections 7 to 10), and their mathematics in floats."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable

import numpy as np

from .pictures import Floats

# RGB to XYZ, adapted to D50 (B. Lindbloom, "RGB/XYZ Matrices").
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
DISPLAY_P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
ADOBE_RGB = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
D50 = np.array([0.9642, 1.0, 0.8249])

# A press whose inks are plainly not the ideal ones; colours of overprints are products.
INKS = np.array([[0, 150, 215], [215, 20, 120], [250, 225, 20], [0, 0, 0]]) / 255.0


def matrix_profile(matrix: Floats, gamma: float) -> bytes:
    """An RGB profile: `gamma` (in 1/256), then `matrix` to D50 XYZ."""
    curve = struct.pack(">4s4xIH", b"curv", 1, round(gamma * 256)) + b"\0\0"
    tags = {name: _xyz(matrix[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return _profile(b"RGB ", b"XYZ ", tags | {b"wtpt": _xyz(D50)})


def grey_profile(gamma: float) -> bytes:
    curve = struct.pack(">4s4xIH", b"curv", 1, round(gamma * 256)) + b"\0\0"
    return _profile(b"GRAY", b"XYZ ", {b"kTRC": curve, b"wtpt": _xyz(D50)})


def cmyk_profile() -> bytes:
    """A print profile of two grid points a channel: the 16 overprints of INKS."""
    nodes = [ink_colour(np.array(node, dtype=np.float64)) for node in itertools.product((0, 1), repeat=4)]
    lab = [xyz_to_lab(SRGB @ decode_srgb(node)) for node in nodes]
    table = bytes(int(v) for light, a, b in lab for v in (round(light * 2.55), round(a + 128), round(b + 128)))
    ramp = bytes(range(256))
    lut = struct.pack(">4s4xBBBx9i", b"mft1", 4, 3, 2, 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    return _profile(b"CMYK", b"Lab ", {b"A2B0": lut + ramp * 4 + table + ramp * 3, b"wtpt": _xyz(D50)}, b"prtr")


def ink_colour(inks: Floats) -> Floats:
    """sRGB in 0..1 of a patch covered with `inks` (0 or 1 for C, M, Y, K)."""
    return np.asarray(np.prod(1 - inks[:, None] * (1 - INKS), axis=0))


def encode_srgb(linear: Floats) -> Floats:
    """Linear light to sRGB, both in 0..1 (IEC 61966-2-1)."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def decode_srgb(value: Floats) -> Floats:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def matrix_to_srgb(pixels: Floats, matrix: Floats, gamma: float) -> Floats:
    """The reference for `matrix_profile`: pixels in 0..255 to sRGB in 0..255."""
    linear = (pixels / 255) ** (round(gamma * 256) / 256)
    return 255 * encode_srgb(linear @ matrix.T @ np.linalg.inv(SRGB).T)


def xyz_to_lab(xyz: Floats) -> tuple[float, float, float]:
    f: Callable[[float], float] = lambda t: t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116  # noqa: E731  # the CIE's own name
    x, y, z = (f(float(v)) for v in xyz / D50)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def lab_to_srgb(lightness: Floats, a: Floats, b: Floats) -> Floats:
    """CIE L*a*b* (D50) to sRGB in 0..255."""
    fy = (lightness + 16) / 116
    f = np.stack([fy + a / 500, fy, fy - b / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, (116 * f - 16) * 27 / 24389) * D50
    return 255 * encode_srgb(xyz @ np.linalg.inv(SRGB).T)


def _xyz(values: Floats) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *(round(float(v) * 65536) for v in values))


def _profile(space: bytes, connection: bytes, tags: dict[bytes, bytes], device: bytes = b"mntr") -> bytes:
    at, table, body = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += b"\0" * (-len(content) % 4)
        table += struct.pack(">4sII", name, at + len(body), len(content))
        body += content
    size = at + len(body)
    head = struct.pack(
        ">I4xI4s4s4s12x4s28x3i48x", size, 0x02400000, device, space, connection, b"acsp", 63190, 65536, 54061
    )
    return head + struct.pack(">I", len(tags)) + table + body
