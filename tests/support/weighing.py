"""Pictures of every format and kind of pixels, and what memory compressing one takes, in a process of its own.

python -m tests.support.weighing FOLDER SIDE      make SIDE x SIDE pictures in a new FOLDER, and weigh each
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from PIL import Image
from pillow_heif import from_bytes, register_heif_opener

from imagepress.errors import ImageError
from services.watcher.compress import Options, compress, tune_allocator
from services.watcher.compress.model import OutputFormat
from services.watcher.compress.weight import BYTES_A_PIXEL
from tests.support.hostile import healthy
from tests.support.hostile_run import memory_bytes


class Asked:
    """Room for everybody, which remembers for how many `pixels` it was asked."""

    def __init__(self) -> None:
        self.pixels: list[int] = []

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        self.pixels.append(pixels)
        yield


def pictures(side: int) -> Iterator[tuple[str, str, Image.Image, dict[str, Any]]]:
    """Yield (name, format, picture, how to save it); noise on a slope, so that no decoder has it too easy."""
    grey = Image.blend(Image.effect_noise((side, side), 30), Image.linear_gradient("L").resize((side, side)), 0.8)
    colour = Image.merge("RGB", (grey, grey.transpose(Image.Transpose.ROTATE_90), grey.point(lambda v: 255 - v)))
    clear = colour.copy()
    clear.putalpha(grey)
    few, inks, deep = colour.quantize(32), colour.convert("CMYK"), grey.convert("I;16")
    for name, how in {"": {}, " progressive": {"progressive": True}}.items():
        for kind, picture in {"RGB": colour, "L": grey, "CMYK": inks}.items():
            yield f"JPEG {kind}{name}", "JPEG", picture, {"subsampling": 0, **how}
    yield "JPEG on its side", "JPEG", inks, {"exif": _on_its_side()}
    png = {"RGB": colour, "RGBA": clear, "P": few, "L": grey, "LA": clear.convert("LA"), "I;16": deep}
    for kind, picture in png.items():
        yield f"PNG {kind}", "PNG", picture, {"compress_level": 1}
    yield "PNG P clear", "PNG", few, {"compress_level": 1, "transparency": 3}
    yield "PNG I;16 clear", "PNG", deep, {"compress_level": 1, "transparency": 3}
    yield "GIF P", "GIF", few, {}
    yield "GIF film", "GIF", few, {"save_all": True, "append_images": [few.rotate(90)], "transparency": 3}
    yield "BMP P", "BMP", few, {}
    yield "BMP RGB", "BMP", colour, {}
    one_strip = {"compression": "tiff_lzw", "tiffinfo": {278: side}}
    tiff = {"RGB": colour, "RGBA": clear, "CMYK": inks, "F": grey.convert("F"), "I": grey.convert("I"), "I;16": deep}
    for kind, picture in tiff.items():
        yield f"TIFF {kind}", "TIFF", picture, {"compression": "tiff_lzw"}
        yield f"TIFF {kind} in one strip", "TIFF", picture, one_strip
    yield "TIFF YCbCr", "TIFF", colour.convert("YCbCr"), {}
    yield "TIFF JPEG", "TIFF", colour, {"compression": "jpeg"}
    yield "TIFF fax", "TIFF", grey.convert("1"), {"compression": "group4"}
    for kind, picture in {"RGB": colour, "RGBA": clear}.items():
        yield f"WEBP {kind}", "WEBP", picture, {"method": 0}
        yield f"WEBP {kind} lossless", "WEBP", picture, {"lossless": True, "method": 0, "quality": 0}
    film = {"save_all": True, "append_images": [clear.rotate(90)], "method": 0}
    yield "WEBP film", "WEBP", clear, film
    for kind, picture in {"RGB": colour, "RGBA": clear, "L": grey}.items():
        yield f"AVIF {kind}", "AVIF", picture, {"speed": 10, "subsampling": "4:4:4" if kind != "L" else "4:0:0"}
        yield f"HEIC {kind}", "HEIF", picture, {"quality": 40, "chroma": 444}


def _on_its_side() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


def make(folder: Path, side: int) -> None:
    """Save the pictures in `folder`."""
    register_heif_opener()
    for name, kind, picture, how in pictures(side):
        picture.save(folder / name, kind, **how)
    for mode in ("RGB", "RGBA"):  # of 10 bits, which Pillow does not know
        samples = Image.effect_noise((side, len(mode) * side), 60).convert("I;16").point(lambda value: value * 257)
        deep = from_bytes(mode=f"{mode};16", size=(side, side), data=samples.tobytes())
        deep.save(folder / f"HEIC {mode} deep", quality=40, chroma=444)


def weigh(path: Path, options: Options, *, max_pixels: int) -> dict[str, Any]:
    """Compress a file in a child of this process; return its error code, if any, its promised and its real bytes."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        data = path.read_bytes()  # by the child: memory that its parent freed would hide what is taken
        base = memory_bytes("VmRSS")
        try:
            asked = Asked()
            compress(data, options, max_pixels=max_pixels, room=asked.hold)
            found: dict[str, Any] = {"promised": asked.pixels[-1] * BYTES_A_PIXEL}
        except ImageError as error:
            found = {"refused": error.code, "promised": 0}
        os.write(writing, json.dumps({**found, "taken": memory_bytes("VmHWM") - base}).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        told: dict[str, Any] = json.loads(answer.read())
    os.waitpid(child, 0)
    return told


def main() -> None:
    """Weigh each file of the folder in each output format; one JSON object a line."""
    folder, side = Path(sys.argv[1]), int(sys.argv[2])
    if not folder.exists():
        folder.mkdir(parents=True)
        if not (maker := os.fork()):  # a process of its own: memory that it leaves free would hide what is taken
            make(folder, side)
            os._exit(0)
        assert os.waitpid(maker, 0)[1] == 0
    tune_allocator(max_pixels=8 * side * side)
    for data in healthy().values():
        for kind in get_args(OutputFormat):
            compress(data, Options(format=kind), max_pixels=side * side)
    # Without the cache of blocks, as large pictures are worked on: what it keeps is the same 64 MB for all.
    Image.core.set_blocks_max(0)  # type: ignore[attr-defined]  # documented, not exported to type checkers
    for path in sorted(folder.iterdir()):
        for kind in get_args(OutputFormat):
            told = weigh(path, Options(format=kind), max_pixels=8 * side * side)
            print(json.dumps({"file": path.name, "to": kind, **told}), flush=True)


if __name__ == "__main__":
    main()
