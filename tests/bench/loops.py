"""Bare Pillow over bytes in memory, on all cores: what is left to win, and what a first version would reach.

`naive` is what one writes first. `tuned` keeps freed image memory mapped, as the image engine does (facts of
`tune_allocator`). Neither downloads, judges, corrects colours, stores or counts anything.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from threading import Barrier
from typing import Final

from PIL import Image

from services.watcher.compress import tune_allocator

SECONDS: Final = 5.0
"""How long a loop runs, about; on all cores at once."""

MAX_PIXELS: Final = 50_000_000


@dataclass(frozen=True)
class Loop:
    """What a loop reached: images per second on all cores together, milliseconds of CPU (user and system) an image."""

    per_s: float
    cpu_ms: float


def run(files: Sequence[Path], *, tuned: bool) -> Loop:
    """Compress `files` over and over for `SECONDS`, in one process a core; starting and reading do not count."""
    cores = os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(cores)
    with ProcessPoolExecutor(cores, mp_context=context, initializer=_prepare, initargs=(gate, tuned)) as pool:
        parts = [pool.submit(_loop, list(files)) for _ in range(cores)]
        results = [part.result() for part in parts]
    images = sum(count for count, _, _ in results)
    return Loop(
        per_s=sum(count / seconds for count, seconds, _ in results),
        cpu_ms=sum(cpu for _, _, cpu in results) / images * 1000,
    )


def _prepare(gate: Barrier, tuned: bool) -> None:
    global _gate
    _gate = gate
    if tuned:
        tune_allocator(max_pixels=MAX_PIXELS)


def _loop(files: list[Path]) -> tuple[int, float, float]:
    """Return how many images were compressed, in how many seconds, for how many seconds of CPU."""
    contents = [file.read_bytes() for file in files]
    for content in contents[:10]:
        _press(content)
    _gate.wait()
    images = 0
    cpu = _cpu_seconds()
    began = time.perf_counter()
    while (passed := time.perf_counter() - began) < SECONDS:
        _press(contents[images % len(contents)])
        images += 1
    return images, passed, _cpu_seconds() - cpu


def _press(content: bytes) -> bytes:
    out = BytesIO()
    Image.open(BytesIO(content)).save(out, "JPEG", quality=50)
    return out.getvalue()


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


_gate: Barrier
"""Where the processes of a pool wait for each other before they begin."""
