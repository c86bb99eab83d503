"""The stream wakes: first when it opens, then at changes that matter, and in any case every SWEEP_SECONDS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY

from deploy.local.processes import eventually
from imagepress.lifecycle import Stop
from imagepress.mongo import Database
from imagepress.settings import CommonSettings
from imagepress.wakeups import WakeUp, Wakeups
from tests.conftest import MakeSettings

WHEN = {"$currentDate": {"woken_at": True}}


@asynccontextmanager
async def _listening(settings: CommonSettings) -> AsyncIterator[tuple[Wakeups, Callable[[], asyncio.Future[WakeUp]]]]:
    stop = Stop()
    wakeups = Wakeups(settings, stop)
    running = asyncio.create_task(wakeups.run())
    turns = aiter(wakeups)

    def following() -> asyncio.Future[WakeUp]:
        return asyncio.ensure_future(asyncio.wait_for(anext(turns), 10))

    try:
        yield wakeups, following
    finally:
        stop.set()
        await running


async def _until_open(wakeups: Wakeups, following: Callable[[], asyncio.Future[WakeUp]]) -> None:
    """Wait for the sweep that an opened stream asks for."""
    while not ((await following()).sweep and wakeups.is_open):
        pass


def _told(name: str) -> float:
    return REGISTRY.get_sample_value(f"imagepress_stream_{name}", {"collection": "requests"}) or 0.0


async def test_opening_asks_for_a_sweep_and_changes_name_their_requests(
    database: Database, make_settings: MakeSettings
) -> None:
    """An insert, a change of status and a touch wake; what comes while the reader is busy makes one wake-up."""
    async with _listening(make_settings(CommonSettings, sweep_seconds=600)) as (wakeups, following):
        await _until_open(wakeups, following)
        read = _told("lag_seconds_count")
        await database.requests.insert_many([{"_id": f"r{n}"} for n in range(50)])

        async def are_read() -> bool:
            return _told("lag_seconds_count") == read + 50

        await eventually(are_read, 10)
        assert (await following()).request_ids == {f"r{n}" for n in range(50)}
        await database.requests.update_one({"_id": "r1"}, {"$set": {"status": "processing"}})
        assert (await following()).request_ids == {"r1"}
        await database.requests.update_one({"_id": "r2"}, WHEN)
        assert (await following()).request_ids == {"r2"}


async def test_other_changes_wake_nobody(database: Database, make_settings: MakeSettings) -> None:
    """Progress and leases do not wake: the next wake-up is that of the touch that came after them."""
    async with _listening(make_settings(CommonSettings, sweep_seconds=600)) as (wakeups, following):
        await database.requests.insert_one({"_id": "r1", "filler": "x" * 1000})
        await _until_open(wakeups, following)
        await database.requests.insert_one({"_id": "r2", "filler": "x" * 1000})
        assert "r2" in (await following()).request_ids
        await database.requests.update_one({"_id": "r1"}, {"$inc": {"images.succeeded": 1}})
        await database.requests.update_one({"_id": "r2"}, WHEN)
        assert (await following()).request_ids == {"r2"}


@pytest.mark.usefixtures("database")
async def test_a_sweep_comes_without_any_change(make_settings: MakeSettings) -> None:
    """With nothing happening, SWEEP_SECONDS alone asks for sweeps."""
    async with _listening(make_settings(CommonSettings, sweep_seconds=0.2)) as (wakeups, following):
        await _until_open(wakeups, following)
        assert (await following()).sweep
        assert (await following()).sweep


async def test_a_dropped_collection_ends_in_a_reopened_stream_and_a_sweep(
    database: Database, make_settings: MakeSettings
) -> None:
    """The stream of a dropped collection ends; it is reopened, a sweep is due, and changes are seen again."""
    async with _listening(make_settings(CommonSettings, sweep_seconds=600)) as (wakeups, following):
        await _until_open(wakeups, following)
        await database.requests.insert_one({"_id": "before"})
        assert (await following()).request_ids == {"before"}
        await database.requests.drop()
        while wakeups.opened < 2:
            await following()
        await database.requests.insert_one({"_id": "after"})
        while "after" not in (await following()).request_ids:
            pass


async def test_the_stream_tells_that_it_is_open_and_how_far_behind_it_reads(
    database: Database, make_settings: MakeSettings
) -> None:
    """Each opening counts, the gauge follows the stream, and a change is measured from the database's time on."""

    opened, read, behind = _told("opened_total"), _told("lag_seconds_count"), _told("lag_seconds_sum")
    async with _listening(make_settings(CommonSettings, sweep_seconds=600)) as (wakeups, following):
        await _until_open(wakeups, following)
        assert (_told("open"), _told("opened_total")) == (1, opened + 1)
        await database.requests.insert_one({"_id": "r"})
        await following()
        assert _told("lag_seconds_count") == read + 1
        assert _told("lag_seconds_sum") - behind < 10
    assert _told("open") == 0
