"""Hostile pictures without end: healthy files of every accepted format, damaged in every way that we know of."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from itertools import pairwise
from typing import Any, Final

from PIL import Image
from pillow_heif import register_heif_opener

from tests.support.engine.profiles import DISPLAY_P3, cmyk_profile, grey_profile, matrix_profile

Damage = Callable[[bytes, random.Random], bytes]

KILOBYTE: Final = 1024
SIZE: Final = (96, 80)
_LIES: Final = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_HEADER_BYTES: Final = 700


@cache
def healthy() -> dict[str, bytes]:
    """Files of every accepted format, with what each format can have: passes, palettes, deep samples, alpha, frames."""
    register_heif_opener()
    colour = Image.effect_noise(SIZE, 60).convert("RGB")
    clear = colour.copy()
    clear.putalpha(Image.linear_gradient("L").resize(SIZE))
    films: dict[str, Any] = {"save_all": True, "append_images": [colour.rotate(90)] * 2}
    wanted: dict[str, tuple[str, Image.Image, dict[str, Any]]] = {
        "jpeg": ("JPEG", colour, {"exif": _exif()}),
        "jpeg progressive": ("JPEG", colour, {"progressive": True}),
        "jpeg inks": ("JPEG", colour.convert("CMYK"), {}),
        "jpeg profile": ("JPEG", colour, {"icc_profile": matrix_profile(DISPLAY_P3, 2.2)}),
        "jpeg print profile": ("JPEG", colour.convert("CMYK"), {"icc_profile": cmyk_profile()}),
        "mpo": ("MPO", colour, films),
        "png": ("PNG", clear, {"exif": _exif()}),
        "png profile": ("PNG", colour.convert("L"), {"icc_profile": grey_profile(1.5)}),
        "png palette": ("PNG", colour.quantize(16), {"transparency": 3}),
        "png deep": ("PNG", colour.convert("I;16"), {}),
        "png film": ("PNG", colour, films),
        "webp": ("WEBP", clear, {"exif": _exif()}),
        "webp lossless": ("WEBP", colour, {"lossless": True}),
        "webp film": ("WEBP", clear, films),
        "gif": ("GIF", colour.quantize(64), {}),
        "gif film": ("GIF", colour, films),
        "bmp": ("BMP", colour, {}),
        "bmp palette": ("BMP", colour.quantize(16), {}),
        "tiff": ("TIFF", clear, {}),
        "tiff packed": ("TIFF", colour, {"compression": "tiff_lzw"}),
        "tiff jpeg": ("TIFF", colour, {"compression": "jpeg"}),
        "tiff fax": ("TIFF", colour.convert("1"), {"compression": "group4"}),
        "avif": ("AVIF", clear, {"speed": 10}),
        "avif film": ("AVIF", colour, {"speed": 10, **films}),
        "heic": ("HEIF", colour, {}),
    }
    return {name: _saved(picture, kind, how) for name, (kind, picture, how) in wanted.items()}


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


def _saved(picture: Image.Image, kind: str, how: dict[str, Any]) -> bytes:
    out = BytesIO()
    picture.save(out, kind, **how)
    return out.getvalue()


@cache
def bombs() -> dict[str, bytes]:
    """Return small files that unpack to 3,000 x 3,000 pixels; one of them says that it is smaller."""
    side = 3000
    blank = Image.new("L", (side, side))
    how: dict[str, dict[str, Any]] = {"TIFF": {"compression": "tiff_adobe_deflate"}, "WEBP": {"lossless": True}}
    found = {kind: _saved(blank, kind, how.get(kind, {})) for kind in ("PNG", "GIF", "WEBP", "TIFF", "AVIF")}
    honest, small = (struct.pack(">II", length, length) for length in (side, 16))
    return {**found, "AVIF lying": found["AVIF"].replace(honest, small)}


def mutations(seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield (what was done, file) for ever, the same for the same `seed`: first every truncation, then damage drawn."""
    for name, data in healthy().items():
        for end in range(0, len(data), KILOBYTE):
            yield f"{name} cut at {end}", data[:end]
    luck = random.Random(f"{seed} mutations")
    while True:
        for name, data in healthy().items():
            damage = luck.choice(_DAMAGES)
            yield f"{name} {damage.__name__.strip('_')}", damage(data, luck)


def _flipped(data: bytes, luck: random.Random) -> bytes:
    """Flip bits anywhere; headers are short, and most can be broken there."""
    damaged = bytearray(data)
    for _ in range(luck.choice((1, 3, 20))):
        at = luck.randrange(min(len(damaged), luck.choice((64, _HEADER_BYTES, len(damaged)))))
        damaged[at] ^= 1 << luck.randrange(8)
    return bytes(damaged)


def _lying(data: bytes, luck: random.Random) -> bytes:
    """Put telling numbers into the header: sizes, counts and offsets are among its fields."""
    damaged = bytearray(data)
    for _ in range(luck.choice((1, 2, 4))):
        kind = luck.choice((">B", ">H", "<H", ">I", "<I"))
        size = struct.calcsize(kind)
        at = luck.randrange(4, min(len(damaged), _HEADER_BYTES) - size)
        struct.pack_into(kind, damaged, at, luck.choice(_LIES) & (1 << 8 * size) - 1)
    return bytes(damaged)


def _swapped(data: bytes, luck: random.Random) -> bytes:
    """Exchange, repeat or leave out parts, cut at the borders of chunks where the format has such."""
    parts = _parts(data, luck)
    one, other = luck.randrange(len(parts)), luck.randrange(len(parts))
    match luck.randrange(3):
        case 0:
            parts[one], parts[other] = parts[other], parts[one]
        case 1:
            parts.insert(one, parts[other] * luck.choice((1, 2, 50)))
        case _:
            del parts[one]
    return b"".join(parts)


def _spliced(data: bytes, luck: random.Random) -> bytes:
    """Go on as another file does: a polyglot."""
    other = luck.choice(list(healthy().values()))
    at = luck.randrange(1, min(len(data), luck.choice((64, _HEADER_BYTES, len(data)))))
    return data[:at] + other[luck.choice((0, min(at, len(other)))) :]


_DAMAGES: Final[tuple[Damage, ...]] = (_flipped, _lying, _swapped, _spliced)


def _parts(data: bytes, luck: random.Random) -> list[bytes]:
    """Cut `data` before its chunks' names, or anywhere where it has none."""
    names = (b"IHDR", b"iCCP", b"PLTE", b"tRNS", b"fcTL", b"IDAT", b"fdAT", b"VP8", b"ALPH", b"ANIM", b"ANMF", b"EXIF")
    boxes = (b"ftyp", b"meta", b"iloc", b"iinf", b"iprp", b"ispe", b"moov", b"trak", b"stbl", b"mdat")
    segments = (b"\xff\xc0", b"\xff\xc2", b"\xff\xc4", b"\xff\xdb", b"\xff\xda", b"\xff\xe1", b"\x2c\0\0\0\0")
    before = dict.fromkeys((*names[:7], *boxes), 4) | dict.fromkeys((*names[7:], *segments), 0)
    ends = {at - back for name, back in before.items() if (at := data.find(name)) >= back}
    ends |= {luck.randrange(len(data)) for _ in range(4)}
    places = [0, *sorted(ends - {0}), len(data)]
    return [data[start:end] for start, end in pairwise(places)]
