"""SIGTERM: an idle service is gone within a second, a busy watcher gives its work back for others to claim at once."""

from __future__ import annotations

import asyncio
import signal
import time
from functools import partial
from pathlib import Path

import httpx
import pytest

from imagepress.mongo import Database
from tests.support import origin as origins
from tests.support.calls import until_ended, upload
from tests.support.load import at_once
from tests.support.origin import serve_origin
from tests.support.pictures import photo
from tests.support.processes import FAST, Service, eventually, services
from tests.support.receiver import Receiver, serve_receiver
from tests.support.stored import in_folder_and_s3
from tests.support.uploads import csv_of

IMAGES = 4  # one batch
DRAIN_SECONDS = 5
TRIES = 3  # a busy machine may take its time once, but not again and again


@pytest.mark.parametrize("name", ["ingest", "watcher", "notifier"])
async def test_an_idle_service_stops_within_a_second(environment: dict[str, str], tmp_path: Path, name: str) -> None:
    """SIGTERM to a service that has done its work and waits for more: exit status 0 in under a second."""
    async with (
        serve_origin({"/0": origins.body(photo(0))}) as origin,
        serve_receiver() as receiver,
        services({**environment, **FAST, "WATCHER_PROCESSES": "1"}, tmp_path) as system,
    ):
        await asyncio.gather(*(service.start() for service in system.values()))
        took: list[float] = []
        for number in range(1, TRIES + 1):
            # Only what has done something is known to have started to the end: a worker has no health of its own.
            await upload(system["ingest"], csv_of([origin.url("/0")]), receiver.url("/hook"))
            await eventually(partial(_is_told, receiver, number))
            began = time.monotonic()
            status = await system[name].kill(signal.SIGTERM)
            took.append(time.monotonic() - began)
            assert status == 0, system[name].said()
            if took[-1] < at_once():
                return
            await system[name].start()
        pytest.fail(f"{name} took {took} s to stop\n{system[name].said()}")


async def _is_told(receiver: Receiver, times: int) -> bool:
    return len(receiver.received) >= times


async def _has_looked(watcher: Service) -> bool:
    """Tell whether a worker of this watcher has asked for work, and found none: from then on it only waits."""
    async with httpx.AsyncClient() as client:
        told = (await client.get(f"{watcher.url}/metrics")).text
    return 'imagepress_claims_total{outcome="nothing"}' in told


@in_folder_and_s3
async def test_a_busy_watcher_gives_its_work_back_at_once(
    environment: dict[str, str], tmp_path: Path, database: Database
) -> None:
    """SIGTERM in the middle of a batch: exit 0 within DRAIN_SECONDS, and another watcher has it within a second."""
    # A lease that nobody could wait for here: what is claimed again was given back, and did not run out.
    patient = {**environment, **FAST, "LEASE_SECONDS": "600", "SWEEP_SECONDS": "600"}
    settings = {**patient, "DRAIN_SECONDS": str(DRAIN_SECONDS), "WATCHER_PROCESSES": "1"}
    gate = asyncio.Event()
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    answers = {f"/{n}": origins.held(gate, origins.body(photo(n))) for n in range(IMAGES)}
    async with (
        serve_origin(answers) as origin,
        services(settings, tmp_path / "one") as one,
        services(settings, tmp_path / "two") as two,
    ):
        await asyncio.gather(one["ingest"].start(), one["watcher"].start())
        request_id = await upload(one["ingest"], csv_of([origin.url(f"/{n}") for n in range(IMAGES)]))
        await origin.reached(lambda seen: seen.open_now == IMAGES, seconds=20)
        await two["watcher"].start()
        await eventually(partial(_has_looked, two["watcher"]))
        began = time.monotonic()
        stopping = asyncio.create_task(one["watcher"].kill(signal.SIGTERM))

        async def free() -> bool:
            batch = await database.batches.find_one({"request_id": request_id}, {"lease": 1, "claims": 1})
            return batch is not None and ("lease" not in batch or batch["claims"] == 2)

        async def taken() -> bool:
            return await database.batches.count_documents({"request_id": request_id, "claims": 2}) == 1

        await eventually(free)
        given_back = time.monotonic()
        await eventually(taken)
        waited = time.monotonic() - given_back
        assert await stopping == 0, one["watcher"].said()
        took = time.monotonic() - began
        gate.set()
        status = await until_ended(one["ingest"], request_id)
        assert took < DRAIN_SECONDS, f"the busy watcher took {took:.2f} s to stop"
        assert waited < at_once(), f"what it gave back was claimed {waited:.2f} s later"
        assert status["images"] == {"total": IMAGES, "succeeded": IMAGES, "failed": 0}
        batch = await database.batches.find_one({"request_id": request_id})
        assert batch is not None
        assert (batch["claims"], batch["expiries"]) == (2, 0)
