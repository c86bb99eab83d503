"""The primary steps down, dies, or all members do: services go on by themselves, lose nothing, and say so once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import pytest
from pymongo import WriteConcern
from pymongo.errors import PyMongoError

from deploy.local.mongod import ReplicaSet
from imagepress import transitions
from imagepress.documents import BatchStatus, RequestStatus
from imagepress.lifecycle import Stop
from imagepress.mongo import Database
from imagepress.settings import CommonSettings
from imagepress.wakeups import Wakeups
from services.ingest.settings import IngestSettings
from tests.chaos.database.conftest import IMAGES
from tests.conftest import MakeSettings
from tests.support.calls import status_of, upload
from tests.support.elections import Elections
from tests.support.exact import is_exact
from tests.support.failpoints import lagging
from tests.support.midway import hold_back
from tests.support.origin import Origin
from tests.support.outages import Outages, Part, pids_of
from tests.support.processes import Service, eventually
from tests.support.receiver import Receiver
from tests.support.stalling import until_stalled
from tests.support.uploads import accepted, csv_of

EARLY = 12
"""Images of the first two batches (4 and 8), done before the blow falls."""


@pytest.mark.parametrize(
    ("blow", "streams_cut"),
    [
        pytest.param(Elections.step_down, 0, id="the primary steps down"),  # drivers may get over it unnoticed
        pytest.param(Elections.kill_primary, 2, id="the primary dies"),  # watcher and notifier have one each
        pytest.param(Elections.restart_all, 2, id="all members die"),
    ],
)
async def test_a_request_survives_what_happens_to_the_primary(
    system: dict[str, Service],
    database: Database,
    elections: Elections,
    origin: Origin,
    urls: list[str],
    receiver: Receiver,
    tmp_path: Path,
    blow: Callable[[Elections], Coroutine[None, None, None]],
    streams_cut: int,
) -> None:
    """In the middle of a request: the same processes go on, the result is exact, and each tells of it once."""
    await asyncio.gather(*(service.start() for service in system.values()))
    pids, term = pids_of(system), await elections.term()
    outages = Outages.from_now(tmp_path)
    gate = hold_back(origin, range(EARLY, IMAGES))
    request_id = await upload(system["ingest"], csv_of(urls), receiver.url("/hook"))
    await _until_in_the_middle(system, database, request_id)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(blow(elections), name="blow")
        gate.set()  # outcomes are written while there is no primary
    await system["ingest"].until_ready()
    await is_exact(system, request_id, receiver, tmp_path / "images", images=IMAGES)
    assert pids_of(system) == pids
    said = await _said_when_over(outages, streams_cut)
    for part, told in said.items():  # no more often than a primary went
        assert told == [True, False] * (len(told) // 2), part
        assert len(told) <= 2 * (await elections.term() - term), part


async def _until_in_the_middle(system: dict[str, Service], database: Database, request_id: str) -> None:
    """Wait until the first images are done, and every worker holds some of the others."""

    async def in_the_middle() -> bool:
        workers = await database.batches.distinct("lease.worker", {"request_id": request_id})
        done = (await status_of(system["ingest"], request_id))["images"]["succeeded"]
        return len(workers) == 2 and done >= EARLY

    await eventually(in_the_middle)


async def _said_when_over(outages: Outages, streams_cut: int) -> dict[Part, list[bool]]:
    """Wait until every part that was in trouble has said that it is over; return what they said."""

    async def over() -> bool:
        said = outages.said()
        streams = [told for (_, what), told in said.items() if what == "change stream"]
        return len(streams) >= streams_cut and not any(told[-1] for told in said.values())

    await eventually(over)
    return outages.said()


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
            await eventually(_is_open(wakeups))
            killed = clock()
            await elections.kill_primary()
            waiting = tasks.create_task(named("r"), name="reader")
            await eventually(touched, 15)
            assert waiting.result() - killed < 5
        finally:
            stop.set()


def _is_open(wakeups: Wakeups) -> Callable[[], Awaitable[bool]]:
    async def is_open() -> bool:
        return wakeups.is_open

    return is_open


async def test_an_outcome_that_a_failover_undoes_ends_no_run(
    database: Database, make_settings: MakeSettings, replica_set: ReplicaSet, elections: Elections
) -> None:
    """Only the old primary knows that the last batch is complete: no run ends on that, at its successor neither."""
    request_id = await accepted(database, make_settings(IngestSettings), ["http://127.0.0.1:1/0"])
    complete = {"$set": {"status": BatchStatus.COMPLETED, "succeeded": 1}}
    unsure = database.batches.with_options(write_concern=WriteConcern(1))
    with lagging(replica_set):
        await unsure.update_one({"request_id": request_id}, complete)
        ender = await until_stalled(database, lambda seen: transitions.end_if_done(seen, request_id, 1), after=0)
        await elections.kill_primary()
    await elections.mend()
    if ender is not None:  # it has looked at the old primary, and writes to the new one
        await ender.go_on()
    batch = await database.batches.find_one({"request_id": request_id})
    assert batch is not None
    assert batch["status"] == BatchStatus.PENDING
    assert await database.requests.count_documents({"_id": request_id, "status": RequestStatus.PENDING}) == 1
    await database.batches.update_one({"request_id": request_id}, complete)
    assert await transitions.end_if_done(database, request_id, 1)
