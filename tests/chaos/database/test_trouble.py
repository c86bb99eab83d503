"""The database is slow, is not there at the start, or refuses for good: waited for, or told loudly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from deploy.local.mongod import ReplicaSet
from deploy.local.processes import free_port
from imagepress.mongo import Database
from tests.chaos.database.conftest import IMAGES
from tests.support.calls import until_ended, upload
from tests.support.exact import is_exact
from tests.support.failpoints import failing
from tests.support.outages import Outages, pids_of
from tests.support.processes import FAST, Service, eventually, services
from tests.support.receiver import Receiver
from tests.support.uploads import csv_of


async def test_slow_answers_kill_nobody(
    system: dict[str, Service], replica_set: ReplicaSet, urls: list[str], receiver: Receiver, tmp_path: Path
) -> None:
    """Every command takes longer than DATABASE_TIMEOUT_SECONDS for a while: late, but exact, by the same processes."""
    await asyncio.gather(*(service.start() for service in system.values()))
    pids = pids_of(system)
    slow = {"blockConnection": True, "blockTimeMS": 1100}
    request_id = await upload(system["ingest"], csv_of(urls), receiver.url("/hook"))
    with failing(replica_set, "find", "findAndModify", "update", **slow) as slowness:

        async def felt() -> bool:
            return slowness.times >= 12

        await eventually(felt)
    await is_exact(system, request_id, receiver, tmp_path / "images", images=IMAGES)
    assert pids_of(system) == pids


def _all_waiting(system: dict[str, Service]) -> Callable[[], Awaitable[bool]]:
    async def all_waiting() -> bool:
        return all("no MongoDB primary answers at" in service.said() for service in system.values())

    return all_waiting


async def test_services_that_find_no_database_wait_for_it(environment: dict[str, str], tmp_path: Path) -> None:
    """Connection refused at the start: alive, not ready, told once with the remedy; each begins by itself later."""
    with ReplicaSet(tmp_path / "late", members=1) as late:
        member = late.members[0]
        member.kill()
        async with services({**environment, **FAST, "MONGO_CONNECTION_STRING": late.uri}, tmp_path) as system:
            for service in system.values():
                await service.spawn()
            outages = Outages({tmp_path / f"{name}.log": 0 for name in system})
            await eventually(_all_waiting(system))
            for name in ("watcher", "notifier"):
                await _is_alive_but_not_ready(system[name])
            await asyncio.to_thread(member.start)
            for service in system.values():
                await service.until_ready()
            starts = {pid: told for (pid, part), told in outages.said().items() if part == "the start"}
            assert {service.process.pid for service in system.values()} <= starts.keys()
            assert all(told == [True, False] for told in starts.values())


async def _is_alive_but_not_ready(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.url) as client:
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503


async def test_a_service_that_waits_for_its_database_stops_at_once(environment: dict[str, str], tmp_path: Path) -> None:
    """SIGTERM while MongoDB is away from the start: exit status 0, no traceback, and no credential was told."""
    nobody = f"mongodb://user:hidden@127.0.0.1:{free_port()}/?replicaSet=rs0"
    async with services({**environment, **FAST, "MONGO_CONNECTION_STRING": nobody}, tmp_path) as system:
        for service in system.values():
            await service.spawn()
        await eventually(_all_waiting(system))
        for service in system.values():
            await service.stop()
            assert service.process.returncode == 0
            assert "Traceback" not in service.said()
            assert "hidden" not in service.said()


async def test_a_fault_that_does_not_pass_stops_the_worker_loudly(
    system: dict[str, Service], replica_set: ReplicaSet, database: Database, urls: list[str], tmp_path: Path
) -> None:
    """Claims that are not authorized end the workers again and again: told, and not ready; mended, work goes on."""
    await asyncio.gather(*(service.start() for service in system.values()))
    async with httpx.AsyncClient(base_url=system["watcher"].url) as watcher:
        with failing(replica_set, "findAndModify", namespace=database.batches.full_name, errorCode=13):

            async def not_ready() -> bool:
                return (await watcher.get("/readyz")).status_code == 503

            request_id = await upload(system["ingest"], csv_of(urls[:8]))
            await eventually(not_ready, 30)
            assert "die again and again" in (await watcher.get("/readyz")).text
            assert (await watcher.get("/livez")).status_code == 200
    log = (tmp_path / "watcher.log").read_text()
    assert "a task died, so the service stops" in log
    assert "a worker died and is replaced" in log
    assert (await until_ended(system["ingest"], request_id))["images"]["succeeded"] == 8
