"""What a watcher process needs at most on photographs of four megapixels, and at ten times the rows."""

from __future__ import annotations

from typing import Final

from tests.bench.nginx import Nginx, serving
from tests.bench.photographs import FOUR_MEGAPIXELS, Photographs, photographs
from tests.bench.pipeline import pipeline
from tests.bench.system import Bench

ROWS: Final = 150
TIMES: Final = 10


async def measure(bench: Bench) -> dict[str, float]:
    """Take the peaks of two fresh watchers: a peak never falls again."""
    root = bench.folder.parent / "photographs"
    photos = photographs(FOUR_MEGAPIXELS, root)
    async with serving(root, bench.folder / "nginx") as nginx:
        return {
            "watcher_peak_mb": await _peak(bench, nginx, photos, ROWS),
            "watcher_peak_mb_at_10x_rows": await _peak(bench, nginx, photos, ROWS * TIMES),
        }


async def _peak(bench: Bench, nginx: Nginx, photos: Photographs, rows: int) -> float:
    async with pipeline(bench, nginx, photos) as running:
        outcome = await running.run(nginx.urls(photos, rows, part=f"of-{rows}"), photos.kind.size)
    return outcome.peak_mb
