from __future__ import annotations

import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from imagepress.errors import ImageError, ImageErrorCode
from services.watcher.compress import Options, compress
from services.watcher.compress.inspect import opened
from tests.support.hostile import bombs, healthy, mutations

MAX_PIXELS = 4_000_000

DAMAGED = 2500  # files a run; raise it for a night's work
LIMIT_SECONDS = 10.0  # the slowest of these files takes 0.1 s on an idle machine
# What the engine may ask for, by its own limit; the smallest pictures, and what decoders keep, within it.
BYTES_A_PIXEL = 12


def run(seed: int, number: int, files: list[Path]) -> subprocess.CompletedProcess[str]:
    numbers = (str(number) for number in (seed, number, MAX_PIXELS))
    command = [sys.executable, "-m", "tests.support.hostile_run", *numbers, *map(str, files)]
    # What libtiff complains of goes to stderr; it is shown where the process fails.
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_hostile_files_end_with_a_code_and_within_memory(tmp_path: Path) -> None:
    """Thousands of damaged files and the bombs of every format: no crash, no hang, a named end, bounded memory."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201  # pytest shows it when the test fails
    for kind, data in bombs().items():
        (tmp_path / kind).write_bytes(data)
    done = run(seed, DAMAGED, list(tmp_path.iterdir()))
    *told, last = done.stdout.splitlines()
    assert done.returncode == 0, f"{last}\n{done.stderr[-4000:]}"
    found: dict[str, Any] = json.loads(last)
    assert sum(found["outcomes"].values()) == len(told) == DAMAGED + len(bombs())
    assert set(found["outcomes"]) <= {*ImageErrorCode, "compressed"}
    assert {"corrupt", "compressed", "not_an_image", "too_many_pixels"} <= set(found["outcomes"])
    assert found["slowest"] < LIMIT_SECONDS
    assert found["grown"] < BYTES_A_PIXEL * MAX_PIXELS


def test_the_same_seed_makes_the_same_files() -> None:
    """A failure can be repeated by its printed seed; each format is cut at every kilobyte."""
    one, other = (list(islice(mutations(7), 1000)) for _ in range(2))
    assert one == other
    assert one != list(islice(mutations(8), 1000))
    names = {what for what, _ in one}
    for name, data in healthy().items():
        assert {f"{name} cut at {end}" for end in range(0, len(data), 1024)} <= names


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF", "AVIF", "AVIF lying"])
def test_bombs_of_every_format_are_refused_unopened(kind: str) -> None:
    """A small file that unpacks to nine million pixels is refused by its header."""
    data = bombs()[kind]
    assert len(data) < 200_000
    with pytest.raises(ImageError) as refused:
        opened(data, Options(), max_pixels=MAX_PIXELS)
    assert refused.value.code == "too_many_pixels"


def test_threads_do_not_disturb_each_other() -> None:
    """Several pictures at once, profiles included, come out as one after the other."""
    files = list(healthy().values()) * 4
    alone = [compress(data, Options(), max_pixels=MAX_PIXELS) for data in files]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda data: compress(data, Options(), max_pixels=MAX_PIXELS), files))
    assert together == alone
