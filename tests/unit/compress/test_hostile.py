from __future__ import annotations

import random
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from imagepress.errors import ImageError
from services.watcher.compress import Options, compress, inspect

from .pictures import MAX_PIXELS, exif, image, saved, scene
from .profiles import DISPLAY_P3, matrix_profile

FLIPPED = 400  # damaged files a run; raise it for a night's work
TRUNCATIONS = 12  # a format
KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIC", "MPO")
SMALL = scene(48, 40)
LIMIT_SECONDS = 10.0  # the slowest of these files takes 0.05 s on an idle machine


def whole(kind: str) -> bytes:
    how: dict[str, Any] = {} if kind in ("GIF", "BMP", "TIFF") else {"exif": exif(6).tobytes()}
    if kind not in ("GIF", "BMP", "HEIC"):
        how["icc_profile"] = matrix_profile(DISPLAY_P3, 2.2)
    if kind == "MPO":
        how |= {"save_all": True, "append_images": [image(SMALL[::-1])]}
    return saved(image(SMALL), kind, **how)


def outcome(data: bytes) -> str:
    """Compress what may be anything: a result or an ImageError, soon; whatever else is raised fails the test."""
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in production, where Pillow's remarks about a file stop nothing
        try:
            inspect(data, max_pixels=MAX_PIXELS)
            compress(data, Options(), max_pixels=MAX_PIXELS)
        except ImageError as error:
            return error.code
        finally:
            assert time.perf_counter() - began < LIMIT_SECONDS
    return "compressed"


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_files_end_as_image_errors(kind: str) -> None:
    """A file cut anywhere is refused or, where the rest did not matter, compressed."""
    data = whole(kind)
    ends = {round(len(data) * i / TRUNCATIONS) for i in range(TRUNCATIONS)} | {1, 4, 12, 30, len(data) - 1}
    outcomes = Counter(outcome(data[:end]) for end in sorted(ends))
    assert outcome(data) == "compressed"
    assert outcomes["corrupt"] >= TRUNCATIONS // 2, outcomes


def test_flipped_bits_never_raise_anything_else() -> None:
    """Damage in any place of any format ends as a result or an ImageError."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201  # pytest shows it when the test fails
    luck = random.Random(seed)
    files = [whole(kind) for kind in KINDS]
    outcomes: Counter[str] = Counter()
    for n in range(FLIPPED):
        data = bytearray(files[n % len(files)])
        for _ in range(luck.choice((1, 3, 20))):
            # Headers are short, and most can be broken there.
            at = luck.randrange(min(len(data), luck.choice((64, 700, len(data)))))
            data[at] ^= 1 << luck.randrange(8)
        outcomes[outcome(bytes(data))] += 1
    assert {"corrupt", "compressed"} <= set(outcomes), outcomes


def test_threads_do_not_disturb_each_other() -> None:
    """Several pictures at once, profiles included, come out as one after the other."""
    files = [whole(kind) for kind in KINDS] * 4
    alone = [compress(data, Options(), max_pixels=MAX_PIXELS) for data in files]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda data: compress(data, Options(), max_pixels=MAX_PIXELS), files))
    assert together == alone
