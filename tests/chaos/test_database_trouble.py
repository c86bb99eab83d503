"""The database steps down, dies, comes back, is slow, or refuses: services go on by themselves and lose nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from pymongo.errors import PyMongoError

from deploy.local.mongod import ReplicaSet
from deploy.local.processes import free_port
from imagepress.lifecycle import Stop
from imagepress.mongo import Database
from imagepress.settings import CommonSettings
from imagepress.wakeups import Wakeups
from tests.conftest import MakeSettings
from tests.support import origin as origins
from tests.support.calls import status_of, until_ended, upload
from tests.support.elections import Elections, three_members
from tests.support.failpoints import failing
from tests.support.origin import Origin, serve_origin
from tests.support.pictures import photo
from tests.support.processes import FAST, Service, eventually, services
from tests.support.receiver import Receiver, serve_receiver
from tests.support.uploads import csv_of

IMAGES: Final = 60
EARLY: Final = 12
"""Images of the first two batches (4 and 8), done before the blow falls."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elections]:
    """Three members, for all tests of this file."""
    with three_members(tmp_path_factory.mktemp("three")) as running:
        yield running


@pytest.fixture(scope="module")
def replica_set(shared: Elections) -> ReplicaSet:
    """The set that `environment` points to."""
    return shared.replica_set


@pytest.fixture
async def elections(shared: Elections) -> AsyncIterator[Elections]:
    """What may happen to the set; whoever was killed is there again at the end."""
    yield shared
    await shared.mend()


@pytest.fixture
async def system(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[dict[str, Service]]:
    """The three services on free ports, not started yet."""
    async with services({**environment, **FAST, "BATCH_IMAGES": "16"}, tmp_path) as made:
        yield made


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """An origin with one picture under each path."""
    picture = origins.body(photo(1))
    async with serve_origin({f"/{n}": picture for n in range(IMAGES)}) as serving:
        yield serving


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A webhook receiver that answers 200."""
    async with serve_receiver() as serving:
        yield serving


async def _start(system: dict[str, Service]) -> list[int]:
    """Start everything; return the pids of all processes."""
    await asyncio.gather(*(service.start() for service in system.values()))
    return _pids(system)


def _pids(system: dict[str, Service]) -> list[int]:
    parents = [service.process.pid for service in system.values() if service.process.returncode is None]
    watcher = system["watcher"].process.pid
    children = Path(f"/proc/{watcher}/task/{watcher}/children").read_text().split()
    return [*parents, *(int(child) for child in children)]


def _stored(folder: Path, request_id: str) -> set[str]:
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))
    return {path for path in paths if request_id in path}


def _urls(origin: Origin) -> list[str]:
    return [origin.url(f"/{n}") for n in range(IMAGES)]


async def _is_exact(system: dict[str, Service], request_id: str, receiver: Receiver, folder: Path) -> None:
    """Wait for the end of a request, and compare status, files and webhook with what was uploaded."""
    status = await until_ended(system["ingest"], request_id)
    assert status["status"] == "completed"
    assert status["images"] == {"total": IMAGES, "succeeded": IMAGES, "failed": 0}
    links = [link for row in status["details"] for link in row["output_image_urls"]]
    assert {link.partition("/compressed_images/")[2] for link in links} == _stored(folder, request_id)

    async def called() -> bool:
        return any(call.json["request_id"] == request_id for call in receiver.received)

    await eventually(called)


async def test_requests_survive_what_happens_to_the_primary(
    system: dict[str, Service],
    database: Database,
    elections: Elections,
    origin: Origin,
    receiver: Receiver,
    tmp_path: Path,
) -> None:
    """In the middle of a request the primary steps down, or dies, or all members do: same processes, exact result."""
    pids = await _start(system)
    for blow in (elections.step_down, elections.kill_primary, elections.restart_all):
        gate = _hold_back(origin, EARLY)
        request_id = await upload(system["ingest"], csv_of(_urls(origin)), receiver.url("/hook"))
        await _until_in_the_middle(system, database, request_id)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(blow(), name="blow")
            gate.set()  # outcomes are written while there is no primary
        await system["ingest"].until_ready()
        await _is_exact(system, request_id, receiver, tmp_path / "images")
        assert _pids(system) == pids, blow.__name__


def _hold_back(origin: Origin, first: int) -> asyncio.Event:
    """Let the images from `first` on wait until the event that is returned."""
    gate = asyncio.Event()
    picture = origin.answers["/0"]
    for n in range(first, IMAGES):
        origin.answers[f"/{n}"] = origins.held(gate, picture)
    return gate


async def _until_in_the_middle(system: dict[str, Service], database: Database, request_id: str) -> None:
    """Wait until the first images are done, and every worker holds some of the others."""

    async def in_the_middle() -> bool:
        workers = await database.batches.distinct("lease.worker", {"request_id": request_id})
        done = (await status_of(system["ingest"], request_id))["images"]["succeeded"]
        return len(workers) == 2 and done >= EARLY

    await eventually(in_the_middle)


async def test_slow_answers_kill_nobody(
    system: dict[str, Service], replica_set: ReplicaSet, origin: Origin, receiver: Receiver, tmp_path: Path
) -> None:
    """Every command takes longer than DATABASE_TIMEOUT_SECONDS for a while: late, but exact, by the same processes."""
    pids = await _start(system)
    slow = {"blockConnection": True, "blockTimeMS": 1100}
    request_id = await upload(system["ingest"], csv_of(_urls(origin)), receiver.url("/hook"))
    with failing(replica_set, "find", "findAndModify", "update", **slow) as slowness:

        async def felt() -> bool:
            return slowness.times >= 12

        await eventually(felt)
    await _is_exact(system, request_id, receiver, tmp_path / "images")
    assert _pids(system) == pids


async def test_services_that_find_no_database_wait_for_it(environment: dict[str, str], tmp_path: Path) -> None:
    """Connection refused at the start: each says so once, with the remedy, and begins by itself later."""
    with ReplicaSet(tmp_path / "late", members=1) as late:
        member = late.members[0]
        member.kill()
        async with services({**environment, **FAST, "MONGO_CONNECTION_STRING": late.uri}, tmp_path) as system:
            for service in system.values():
                await service.spawn()

            async def all_waiting() -> bool:
                return all("no MongoDB primary answers at" in service.said() for service in system.values())

            await eventually(all_waiting)
            await asyncio.to_thread(member.start)
            for service in system.values():
                await service.until_ready()
                said = service.said()
                assert said.count("the start is paused") == 1
                assert "the start goes on" in said


async def test_a_service_that_waits_for_its_database_stops_at_once(environment: dict[str, str], tmp_path: Path) -> None:
    """SIGTERM while MongoDB is away from the start: exit status 0, no traceback, and no credential was told."""
    nobody = f"mongodb://user:hidden@127.0.0.1:{free_port()}/?replicaSet=rs0"
    async with services({**environment, **FAST, "MONGO_CONNECTION_STRING": nobody}, tmp_path) as system:
        for service in system.values():
            await service.spawn()

        async def all_waiting() -> bool:
            return all("no MongoDB primary answers at" in service.said() for service in system.values())

        await eventually(all_waiting)
        for service in system.values():
            await service.stop()
            assert service.process.returncode == 0
            assert "Traceback" not in service.said()
            assert "hidden" not in service.said()


async def test_a_waiting_stream_is_back_soon_after_a_failover(
    database: Database, make_settings: MakeSettings, elections: Elections
) -> None:
    """From the kill of the primary to the first wake-up that names a request of the new one: under five seconds."""
    stop = Stop()
    wakeups = Wakeups(make_settings(CommonSettings, sweep_seconds=600), stop)
    clock = asyncio.get_running_loop().time

    async def named(request_id: str) -> float:
        async for turn in wakeups:
            if request_id in turn.request_ids:
                return clock()
        raise AssertionError("the stop came first")

    async def touched() -> bool:
        try:
            await database.requests.update_one({"_id": "r"}, {"$currentDate": {"woken_at": True}}, upsert=True)
        except PyMongoError:
            return False  # no primary yet
        return waiting.done()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(wakeups.run(), name="change stream")
        try:
            await _until_open(wakeups)
            killed = clock()
            await elections.kill_primary()
            waiting = tasks.create_task(named("r"), name="reader")
            await eventually(touched, 15)
            assert waiting.result() - killed < 5
        finally:
            stop.set()


async def _until_open(wakeups: Wakeups) -> None:
    async def is_open() -> bool:
        return wakeups.is_open

    await eventually(is_open)


async def test_a_fault_that_does_not_pass_stops_the_worker_loudly(
    system: dict[str, Service], replica_set: ReplicaSet, database: Database, origin: Origin, tmp_path: Path
) -> None:
    """Claims that are not authorized end the workers again and again: told, and not ready; mended, work goes on."""
    await _start(system)
    async with httpx.AsyncClient(base_url=system["watcher"].url) as watcher:
        with failing(replica_set, "findAndModify", namespace=database.batches.full_name, errorCode=13):

            async def not_ready() -> bool:
                return (await watcher.get("/readyz")).status_code == 503

            request_id = await upload(system["ingest"], csv_of(_urls(origin)[:8]))
            await eventually(not_ready, 30)
            assert "die again and again" in (await watcher.get("/readyz")).text
            assert (await watcher.get("/livez")).status_code == 200
    log = (tmp_path / "watcher.log").read_text()
    assert "a task died, so the service stops" in log
    assert "a worker died and is replaced" in log
    assert (await until_ended(system["ingest"], request_id))["images"]["succeeded"] == 8
