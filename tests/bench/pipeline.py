"""One upload through the whole system as deployed, on the database's clock: from the first claim to the last image.

The services run as `python -m services.…` with their default settings. An upload becomes visible to the watchers all at
once, when the ingest releases its batches; so the ingest's own work lies before the first claim (`started_at`), and the
watchers' ends with the request (`ended_at`). The watchers are warm: each process has worked on images before.

What was stored stays until all is measured. ext4 does not give out inodes that were freed within the last minute, but
looks at each of them again for every new file: after a round of images was deleted, that took 0.3 ms of CPU an image.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from imagepress.documents import BatchStatus
from imagepress.mongo import Database
from tests.bench.nginx import Nginx
from tests.bench.photographs import Photographs
from tests.bench.system import Bench, children_of, cpu_seconds, peak_mb
from tests.support.calls import ENDED, upload
from tests.support.processes import Service, eventually
from tests.support.uploads import csv_of

PROCESSES: Final = 2
WARM_UP: Final = 200
SAMPLE: Final = 25
PATIENCE_SECONDS: Final = 300.0
LOOK_SECONDS: Final = 0.25
"""How often an end is looked for: it is timed by the database, and looking takes of the cores that are measured."""


@dataclass(frozen=True)
class Outcome:
    """What an upload took: images per second, milliseconds of CPU an image in all workers, the largest one's peak."""

    per_s: float
    cpu_ms: float
    peak_mb: float


@dataclass(frozen=True)
class Pipeline:
    """Ingest and watcher, running and warm."""

    ingest: Service
    watcher: Service
    database: Database
    images: Path
    workers: list[int]

    async def run(self, urls: Sequence[str], size: tuple[int, int]) -> Outcome:
        """Upload `urls` and wait for the end. Raises `AssertionError` unless every image came out, and of `size`."""
        before = [cpu_seconds(pid) for pid in self.workers]
        request_id = await self.upload(urls)
        request = await self.ended(request_id)
        cpu = sum(cpu_seconds(pid) for pid in self.workers) - sum(before)
        await asyncio.to_thread(_check, self.images / request_id, request, len(urls), size)
        return Outcome(
            per_s=len(urls) / (request["ended_at"] - request["started_at"]).total_seconds(),
            cpu_ms=cpu / len(urls) * 1000,
            peak_mb=max(peak_mb(pid) for pid in self.workers),
        )

    async def upload(self, urls: Sequence[str]) -> str:
        """Upload a CSV of `urls`; return the request's id."""
        return await upload(self.ingest, csv_of(list(urls)))

    async def ended(self, request_id: str) -> dict[str, Any]:
        """Wait for the end of a request, looking rarely; return its document."""
        found: dict[str, Any] = {}

        async def has_ended() -> bool:
            await asyncio.sleep(LOOK_SECONDS)
            found.update(await self.database.requests.find_one({"_id": request_id}) or {})
            return found["status"] in ENDED

        await eventually(has_ended, PATIENCE_SECONDS)
        return found


@asynccontextmanager
async def pipeline(bench: Bench, nginx: Nginx, photographs: Photographs, **settings: str) -> AsyncIterator[Pipeline]:
    """Start ingest and watcher, of two processes unless `settings` say otherwise, and warm them up."""
    chosen = {"WATCHER_PROCESSES": str(PROCESSES), **settings}
    async with bench.running("ingest", "watcher", **chosen) as system, bench.database() as database:
        number = int(chosen["WATCHER_PROCESSES"])
        workers = await _workers(system["watcher"], number)
        made = Pipeline(system["ingest"], system["watcher"], database, bench.folder / "images", workers)
        warmed: set[str] = set()
        while len(warmed) < number:  # a process that was still starting has none of the first upload
            request_id = await made.upload(nginx.urls(photographs, WARM_UP, part="warm"))
            warmed |= await _workers_seen(made, request_id)
        yield made


async def _workers(watcher: Service, number: int) -> list[int]:
    pids: list[int] = []

    async def all_run() -> bool:
        pids[:] = children_of(watcher.process.pid)
        return len(pids) == number

    await eventually(all_run)
    return pids


async def _workers_seen(made: Pipeline, request_id: str) -> set[str]:
    """Wait for the end of a request; return the workers that were seen to hold batches of it."""
    seen: set[str] = set()
    held = {"request_id": request_id, "status": BatchStatus.PROCESSING}

    async def has_ended() -> bool:
        seen.update(await made.database.batches.distinct("lease.worker", held))
        request = await made.database.requests.find_one({"_id": request_id}, {"status": 1})
        return request is not None and request["status"] in ENDED

    await eventually(has_ended, PATIENCE_SECONDS)
    return seen


def _check(folder: Path, request: Mapping[str, Any], number: int, size: tuple[int, int]) -> None:
    """Compare what was stored with what was asked for."""
    counted = request["status"], request["images"]
    assert counted == ("completed", {"total": number, "succeeded": number, "failed": 0}), counted
    pictures = sorted(folder.iterdir())
    assert len(pictures) == number
    for path in pictures[:: max(1, number // SAMPLE)]:
        with Image.open(path) as picture:
            picture.load()
            assert picture.size == size
