"""Rule 2 with a real pause: a worker that slept past its lease finds out, and changes nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from imagepress.mongo import Database
from tests.bench.system import children_of
from tests.support import origin as origins
from tests.support.calls import status_of, until_ended, upload
from tests.support.origin import serve_origin
from tests.support.pictures import photo
from tests.support.processes import FAST, eventually, services
from tests.support.stored import in_folder_and_s3
from tests.support.uploads import csv_of

IMAGES = 4  # one batch


@in_folder_and_s3
async def test_a_worker_paused_past_its_lease_changes_nothing(
    environment: dict[str, str], tmp_path: Path, database: Database
) -> None:
    """SIGSTOP past the lease, another worker completes the batch, SIGCONT: the late one's writes match nothing."""
    gate = asyncio.Event()
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    settings = {**environment, **FAST, "WATCHER_PROCESSES": "1"}
    answers = {f"/{n}": origins.held(gate, origins.body(photo(n))) for n in range(IMAGES)}
    async with (
        serve_origin(answers) as origin,
        services(settings, tmp_path / "one") as one,
        services(settings, tmp_path / "two") as two,
    ):
        await asyncio.gather(one["ingest"].start(), one["watcher"].start())
        request_id = await upload(one["ingest"], csv_of([origin.url(f"/{n}") for n in range(IMAGES)]))
        await origin.reached(lambda seen: seen.open_now == IMAGES, seconds=20)
        [paused] = children_of(one["watcher"].process.pid)
        claimed = await database.batches.find_one({"request_id": request_id})
        assert claimed is not None
        os.kill(paused, signal.SIGSTOP)
        try:
            gate.set()  # what it has asked for arrives while it sleeps
            await two["watcher"].start()
            status = await until_ended(one["ingest"], request_id)
            completed = await database.batches.find_one({"request_id": request_id})
        finally:
            os.kill(paused, signal.SIGCONT)
        assert status["images"] == {"total": IMAGES, "succeeded": IMAGES, "failed": 0}
        assert claimed["lease"]["worker"].endswith(f":{paused}")

        async def told() -> bool:
            return "lost the lease of a batch" in one["watcher"].said()

        await eventually(told)
        assert await database.batches.find_one({"request_id": request_id}) == completed
        assert completed is not None
        assert (completed["status"], completed["claims"], completed["expiries"]) == ("completed", 2, 1)
        assert await status_of(one["ingest"], request_id) == status
        # It is none the worse for it: the next batch is its to claim.
        await two["watcher"].stop()
        again = await upload(one["ingest"], csv_of([origin.url("/0")]))
        assert (await until_ended(one["ingest"], again))["images"]["succeeded"] == 1
        assert children_of(one["watcher"].process.pid) == [paused]
