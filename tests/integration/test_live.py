"""Live progress behind its route: who is slow is told the latest, and holds nobody up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from imagepress.documents import BatchStatus
from imagepress.lifecycle import Stop
from imagepress.links import Links
from imagepress.mongo import Database
from services.ingest import progress
from services.ingest.live import Live, State
from services.ingest.settings import IngestSettings
from tests.conftest import MakeSettings
from tests.support.uploads import accepted

CHANGES = 4
SECONDS = 40


@pytest.fixture
async def live(database: Database, make_settings: MakeSettings) -> AsyncIterator[Live]:
    """Live progress, running."""
    stop = Stop()
    made = Live(database, make_settings(IngestSettings), Links("http://ip"), stop)
    running = asyncio.create_task(made.run())
    yield made
    stop.set()
    await asyncio.wait_for(running, SECONDS)


async def _next(states: AsyncIterator[State]) -> int:
    """Wait for the next state; return how many images it says are done."""
    state = await asyncio.wait_for(anext(states), SECONDS)
    return int(json.loads(state.text)["images"]["succeeded"])


async def test_a_slow_listener_misses_what_is_old_and_holds_nobody_up(
    live: Live, database: Database, make_settings: MakeSettings
) -> None:
    """While one listener takes nothing, another hears of every change; the first is told the present state only."""
    request_id = await accepted(database, make_settings(IngestSettings), ["http://h.example/a"] * 4)
    [request] = await progress.find_requests(database, [request_id])
    async with aclosing(live.follow(request)) as slow, aclosing(live.follow(request)) as quick:
        assert (await _next(slow), await _next(quick)) == (0, 0)
        for done in range(1, CHANGES + 1):
            values = {"status": BatchStatus.PROCESSING, "succeeded": done}
            await database.batches.update_one({"request_id": request_id}, {"$set": values})
            assert await _next(quick) == done
        assert await _next(slow) == CHANGES


async def test_replicas_give_a_state_the_same_id(live: Live, database: Database, make_settings: MakeSettings) -> None:
    """An id is made from what is told: two processes that tell the same say the same id, and another for another."""
    request_id = await accepted(database, make_settings(IngestSettings), ["http://h.example/a"] * 4)
    [request] = await progress.find_requests(database, [request_id])
    stop = Stop()
    other = Live(database, make_settings(IngestSettings), Links("http://ip"), stop)
    async with aclosing(live.follow(request)) as here, aclosing(other.follow(request)) as there:
        first = await anext(here)
        assert (await anext(there)).id == first.id
        await database.batches.update_one({"request_id": request_id}, {"$set": {"succeeded": 1}})
        assert (await asyncio.wait_for(anext(here), SECONDS)).id != first.id
