"""What small uploads feel of a giant beside them, and the giant of them (issue 3), on the database's clock.

One run of a giant differs from the next by more than ten small uploads cost it: so it runs alone and beside them in
turns, and what stands are medians.
"""

from __future__ import annotations

from typing import Final

from tests.bench.nginx import Nginx, serving
from tests.bench.photographs import ONE_MEGAPIXEL, Photographs, photographs
from tests.bench.pipeline import Pipeline, pipeline
from tests.bench.system import Bench, p50
from tests.support.processes import eventually

GIANT: Final = 5000
SMALL_UPLOADS: Final = 10
SMALL_IMAGES: Final = 4
ROUNDS: Final = 3


async def measure(bench: Bench) -> dict[str, float]:
    """Run small uploads alone, one after the other; then a giant alone, and a giant beside ten small ones, by turns."""
    root = bench.folder.parent / "photographs"
    photos = photographs(ONE_MEGAPIXEL, root)
    alone, beside, giant = list[float](), list[float](), list[float]()
    async with (
        serving(root, bench.folder / "nginx") as nginx,
        pipeline(bench, nginx, photos) as running,
    ):
        idle = [await _small(running, nginx, photos, f"idle{n}") for n in range(SMALL_UPLOADS)]
        for number in range(ROUNDS):
            alone.append((await running.run(nginx.urls(photos, GIANT, part=f"alone{number}"), photos.kind.size)).per_s)
            times, per_s = await _together(running, nginx, photos, number)
            beside.extend(times)
            giant.append(per_s)
            print(f"round {number + 1}: giant alone {alone[-1]:.1f}/s, beside small uploads {per_s:.1f}/s", flush=True)
    return {
        "small_alone_ms": p50(idle) * 1000,
        "small_beside_giant_ms": p50(beside) * 1000,
        "small_beside_giant_ratio": p50(beside) / p50(idle),
        "giant_loss": 1 - p50(giant) / p50(alone),
    }


async def _small(running: Pipeline, nginx: Nginx, photos: Photographs, part: str) -> float:
    """Return the seconds from the acceptance of a small upload to its end."""
    request_id = await running.upload(nginx.urls(photos, SMALL_IMAGES, part=part))
    request = await running.ended(request_id)
    assert request["images"]["succeeded"] == SMALL_IMAGES
    seconds: float = (request["ended_at"] - request["created_at"]).total_seconds()
    return seconds


async def _together(running: Pipeline, nginx: Nginx, photos: Photographs, number: int) -> tuple[list[float], float]:
    """Return the seconds of small uploads beside a giant, and the giant's images per second."""
    giant = await running.upload(nginx.urls(photos, GIANT, part=f"beside{number}"))

    async def has_begun() -> bool:
        return bool(await running.database.requests.count_documents({"_id": giant, "images.succeeded": {"$gt": 200}}))

    await eventually(has_begun)
    times = [await _small(running, nginx, photos, f"beside{number}-{n}") for n in range(SMALL_UPLOADS)]
    assert not await running.database.requests.count_documents({"_id": giant, "status": "completed"})
    request = await running.ended(giant)
    return times, GIANT / (request["ended_at"] - request["started_at"]).total_seconds()
