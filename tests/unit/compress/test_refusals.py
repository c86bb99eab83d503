from __future__ import annotations

import struct
import zlib

import pytest
from PIL import Image

from imagepress.errors import ImageError
from services.watcher.compress import Options, compress
from tests.support.engine.pictures import (
    MAX_PIXELS,
    assert_same,
    header,
    image,
    opened,
    pixels,
    pressed,
    saved,
    scene,
)
from tests.support.engine.png import chunk

NOT_AN_IMAGE = {
    "empty": b"",
    "page": b"<!DOCTYPE html><html><body><svg></svg></body></html>",
    "page without doctype": b"<html><head></head></html>",
    "page in xml": b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><svg/></html>",
    "json": b'{"error": "not found"}',
    "text beginning like a bitmap": b"BMW sells cars, and this is a text about them.",
    "film": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2mp41",
    "noise": bytes(range(7, 250)),
    "archive": b"PK\3\4" + bytes(60),
}
UNSUPPORTED = {
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "svg with declaration": b"\xef\xbb\xbf <?xml version='1.0'?>\n<!-- made by hand -->\n<svg/>",
    "psd": b"8BPS\0\1" + bytes(40),
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "pdf": b"%PDF-1.7\n",
    "ico": b"\0\0\1\0\1\0\x10\x10" + bytes(40),
    "jpeg 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
    "jpeg xl": b"\xff\x0a" + bytes(40),
    "jpeg xl in a box": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40),
    "pnm": b"P6 4 4 255 " + bytes(48),
    "canon raw": b"II*\0\x10\0\0\0CR\2\0" + bytes(40),
}
PHOTO = saved(image(scene()), "JPEG", quality=90)
CORRUPT = {
    "jpeg cut short": PHOTO[: len(PHOTO) // 2],
    "jpeg without picture": b"\xff\xd8\xff\xd9",
    "png without picture": b"\x89PNG\r\n\x1a\n",
    "gif of no size": b"GIF89a" + bytes(20),
    "bitmap of no size": b"BM" + bytes(12) + b"\x28\0\0\0" + bytes(36),
    "tiff without pages": b"II*\0\x08\0\0\0" + bytes(20),
    "webp without picture": b"RIFF\x10\0\0\0WEBPVP8 \4\0\0\0abcd",
    "avif without picture": b"\0\0\0\x18ftypavif\0\0\0\0avifmif1",
    "heic without picture": b"\0\0\0\x18ftypheic\0\0\0\0heicmif1",
    "jpeg of ten thousand scans": PHOTO[:-2] + b"\xff\xda" * 10_000 + b"\xff\xd9",
}


def png_claim(width: int, height: int) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def webp_claim() -> bytes:
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + b"\x2f\x75\0" * 2
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif_frame_claim() -> bytes:
    """A small screen, and a frame of 65,535 x 65,535 in it."""
    data = bytearray(saved(Image.new("P", (8, 8)), "GIF"))
    at = data.index(b"\x2c")
    data[at + 5 : at + 9] = b"\xff" * 4
    return bytes(data)


def tiff_tile_claim() -> bytes:
    """A picture of 16 x 16 in one tile of 60,000 x 60,000."""
    entries = {256: 16, 257: 16, 258: 8, 259: 5, 262: 1, 277: 1, 322: 60_000, 323: 60_000, 324: 8, 325: 100}
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table + bytes(200)


def avif_claim() -> bytes:
    data = saved(image(scene()), "AVIF")
    return data.replace(
        b"ispe\0\0\0\0" + struct.pack(">II", 160, 112), b"ispe\0\0\0\0" + struct.pack(">II", 16000, 16000)
    )


BOMBS = {
    "png": png_claim(60_000, 60_000),
    "png beyond any": png_claim(2**31 - 1, 2**31 - 1),
    "gif screen": b"GIF89a\xff\xff\xff\xff\0\0\0" + saved(Image.new("P", (8, 8)), "GIF")[13:],
    "gif frame": gif_frame_claim(),
    "webp": webp_claim(),
    "tiff": saved(Image.new("L", (9, 9)), "TIFF").replace(
        struct.pack("<HHII", 256, 4, 1, 9), struct.pack("<HHII", 256, 4, 1, 10**9)
    ),
    "tiff tile": tiff_tile_claim(),
    "avif": avif_claim(),
    "bitmap": b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 30_000, 30_000, 1, 24, 0) + bytes(40),
    "honest": saved(Image.new("1", (2500, 2500)), "PNG"),
}


def png_without_palette() -> bytes:
    """A PNG of palette pixels and no palette: found by damaging files at random."""
    data = saved(image(scene()).quantize(16), "PNG")
    start = data.index(b"PLTE") - 4
    return data[:start] + data[start + 12 + int.from_bytes(data[start : start + 4], "big") :]


CORRUPT["png without its palette"] = png_without_palette()


def codes() -> list[tuple[str, bytes]]:
    tables = {"not_an_image": NOT_AN_IMAGE, "unsupported_format": UNSUPPORTED, "corrupt": CORRUPT}
    return [
        pytest.param(code, data, id=f"{code}: {name}")  # type: ignore[misc]  # pytest's own name for a row
        for code, table in {**tables, "too_many_pixels": BOMBS}.items()
        for name, data in table.items()
    ]


@pytest.mark.parametrize(("code", "data"), codes())
def test_refused_files_say_why(code: str, data: bytes) -> None:
    """Every kind of file that is refused has the contract's code, and a sentence."""
    with pytest.raises(ImageError) as refused:
        compress(data, Options(), max_pixels=MAX_PIXELS)
    assert refused.value.code == code
    assert refused.value.message


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused_by_their_header(data: bytes) -> None:
    """Too many pixels are seen without decoding one of them."""
    with pytest.raises(ImageError) as refused:
        header(data)
    assert refused.value.code == "too_many_pixels"


def test_the_limit_of_pixels_is_inclusive() -> None:
    """A picture of exactly `max_pixels` is accepted, and one more is not."""
    assert compress(PHOTO, Options(), max_pixels=160 * 112).width == 160
    with pytest.raises(ImageError, match="17920 pixels"):
        compress(PHOTO, Options(), max_pixels=160 * 112 - 1)


def with_chunk(content: bytes) -> bytes:
    data = saved(image(scene()), "PNG")
    return data[:33] + content + data[33:]


@pytest.mark.parametrize(
    "bomb",
    [
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(8 << 20))),
        chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(8 << 20))),
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(8 << 20))),
        chunk(b"iCCP", b"profile\0\0nonsense"),
        chunk(b"iCCP", b"profile\0\7" + zlib.compress(bytes(100))),
    ],
    ids=["text", "unicode text", "profile", "nonsense profile", "profile packed otherwise"],
)
def test_a_bomb_in_a_side_chunk_does_not_cost_the_picture(bomb: bytes) -> None:
    """Texts and profiles that unpack to megabytes are left out, and the picture is compressed."""
    assert_same(pixels(pressed(with_chunk(bomb))), scene())


def test_what_follows_a_picture_is_not_passed_on() -> None:
    """A file that is a picture and a script at once leaves as a picture only."""
    script = b"*/=1;alert(document.domain)//<script>"
    for kind in ("GIF", "PNG", "JPEG"):
        how = {"quality": 5} if kind == "JPEG" else {}
        data = saved(Image.new("P" if kind != "JPEG" else "L", (64, 64)), kind, **how) + script
        result = pressed(data)
        assert script not in result.data
        assert opened(result.data).size == (64, 64)
