"""What small uploads feel of a giant beside them, and the giant of them (issue 3), on the database's clock."""

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


async def measure(bench: Bench) -> dict[str, float]:
    """Run small uploads alone, a giant alone, and both together: ten small ones, one after the other."""
    root = bench.folder.parent / "photographs"
    photos = photographs(ONE_MEGAPIXEL, root)
    async with (
        serving(root, bench.folder / "nginx") as nginx,
        pipeline(bench, nginx, photos) as running,
    ):
        idle = [await _small(running, nginx, photos, f"idle{n}") for n in range(SMALL_UPLOADS)]
        alone = (await running.run(nginx.urls(photos, GIANT, part="alone"), photos.kind.size)).per_s
        beside, giant = await _together(running, nginx, photos)
    return {
        "small_alone_ms": p50(idle) * 1000,
        "small_beside_giant_ms": p50(beside) * 1000,
        "small_beside_giant_ratio": p50(beside) / p50(idle),
        "giant_loss": 1 - giant / alone,
    }


async def _small(running: Pipeline, nginx: Nginx, photos: Photographs, part: str) -> float:
    """Return the seconds from the acceptance of a small upload to its end."""
    request_id = await running.upload(nginx.urls(photos, SMALL_IMAGES, part=part))
    request = await running.ended(request_id)
    assert request["images"]["succeeded"] == SMALL_IMAGES
    seconds: float = (request["ended_at"] - request["created_at"]).total_seconds()
    return seconds


async def _together(running: Pipeline, nginx: Nginx, photos: Photographs) -> tuple[list[float], float]:
    """Return the seconds of small uploads beside a giant, and the giant's images per second."""
    giant = await running.upload(nginx.urls(photos, GIANT, part="beside"))

    async def has_begun() -> bool:
        return bool(await running.database.requests.count_documents({"_id": giant, "images.succeeded": {"$gt": 200}}))

    await eventually(has_begun)
    times = [await _small(running, nginx, photos, f"beside{n}") for n in range(SMALL_UPLOADS)]
    assert not await running.database.requests.count_documents({"_id": giant, "status": "completed"})
    request = await running.ended(giant)
    return times, GIANT / (request["ended_at"] - request["started_at"]).total_seconds()
