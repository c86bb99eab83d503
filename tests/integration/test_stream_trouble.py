"""Whatever happens to the change stream ends in a sweep, is waited out without a tight loop, and changes come again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from deploy.local.mongod import ReplicaSet
from imagepress.lifecycle import Stop
from imagepress.mongo import Database
from imagepress.settings import CommonSettings
from imagepress.wakeups import WakeUp, Wakeups
from tests.conftest import MakeSettings
from tests.support.failpoints import OURS, TEST_COMMANDS, failing
from tests.support.processes import eventually


@pytest.fixture(scope="module")
def replica_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaSet]:
    """A mongod that can be told to fail."""
    with ReplicaSet(tmp_path_factory.mktemp("failing"), parameters=TEST_COMMANDS) as running:
        yield running


class Reader:
    """Reads wake-ups as a service does, and remembers them."""

    def __init__(self, wakeups: Wakeups) -> None:
        self.wakeups = wakeups
        self.turns: list[WakeUp] = []

    @property
    def sweeps(self) -> int:
        """How many sweeps were asked for."""
        return sum(turn.sweep for turn in self.turns)

    async def read(self) -> None:
        """Read until the stop."""
        async for turn in self.wakeups:
            self.turns.append(turn)

    async def until_named(self, request_id: str) -> None:
        """Wait for the wake-up that names a request."""
        await self.until(lambda: any(request_id in turn.request_ids for turn in self.turns))

    async def until(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        """Wait until `condition` holds."""

        async def holds() -> bool:
            return condition()

        await eventually(holds, seconds)


@asynccontextmanager
async def _reading(settings: CommonSettings) -> AsyncIterator[Reader]:
    stop = Stop()
    reader = Reader(Wakeups(settings, stop))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(reader.wakeups.run(), name="change stream")
        tasks.create_task(reader.read(), name="reader")
        try:
            await reader.until(lambda: reader.wakeups.is_open and reader.sweeps > 0)
            yield reader
        finally:
            stop.set()


async def _watch_for(seconds: float, reader: Reader) -> None:
    """Let time pass while trouble lasts, in order to count what happens in it."""
    with suppress(TimeoutError):
        await reader.until(lambda: False, seconds)


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param({"errorCode": 286}, id="history lost"),
        pytest.param({"errorCode": 280}, id="fatal error of the stream"),
        pytest.param({"errorCode": 10334}, id="change too large"),
        pytest.param({"errorCode": 43}, id="cursor not found"),
        pytest.param({"closeConnection": True}, id="connection cut"),
    ],
)
async def test_a_failing_stream_is_swept_for_and_reopened_ever_more_slowly(
    replica_set: ReplicaSet, database: Database, make_settings: MakeSettings, trouble: dict[str, Any]
) -> None:
    """While every read of the stream fails it is reopened a few times a second, swept for, and works when that ends."""
    async with _reading(make_settings(CommonSettings, sweep_seconds=600)) as reader:
        sweeps, opened = reader.sweeps, reader.wakeups.opened
        with failing(replica_set, "getMore", namespace=database.requests.full_name, **trouble) as failures:
            await _watch_for(1.0, reader)
            # Delays of at least 0.05, 0.1, 0.2 and 0.4 s lie between the first failures.
            assert 1 <= failures.times <= 8
            assert reader.wakeups.opened - opened <= 6
            assert 1 <= reader.sweeps - sweeps <= 12
        await database.requests.insert_one({"_id": "missed or not"})
        await reader.until(lambda: reader.wakeups.is_open)
        await database.requests.insert_one({"_id": "after"})
        await reader.until_named("after")


async def _drop(database: Database) -> None:
    await database.requests.drop()


async def _rename(database: Database) -> None:
    await database.requests.rename("elsewhere")


async def _kill_cursors(database: Database) -> None:
    """Kill the stream's cursor on the server, whether it waits for a change at this moment or lies idle."""
    ours = {"appName": OURS, "ns": database.requests.full_name, "cursor.tailable": True}
    stages: list[dict[str, Any]] = [{"$currentOp": {"idleCursors": True, "allUsers": True}}, {"$match": ours}]
    found = [row["cursor"]["cursorId"] async for row in database.client.admin.aggregate(stages)]
    assert found
    await database.client[database.requests.database.name].command("killCursors", database.requests.name, cursors=found)


@pytest.mark.parametrize("blow", [_drop, _rename, _kill_cursors])
async def test_a_stream_that_is_ended_is_opened_again(
    database: Database, make_settings: MakeSettings, blow: Callable[[Database], Awaitable[None]]
) -> None:
    """A dropped or renamed collection, and a cursor killed on the server: a sweep comes, and changes are seen again."""
    async with _reading(make_settings(CommonSettings, sweep_seconds=600)) as reader:
        await database.requests.insert_one({"_id": "before"})
        await reader.until_named("before")
        sweeps, opened = reader.sweeps, reader.wakeups.opened
        await blow(database)
        await reader.until(lambda: reader.wakeups.opened > opened and reader.sweeps > sweeps)
        await database.requests.insert_one({"_id": "after"})
        await reader.until_named("after")
        assert reader.wakeups.opened - opened <= 3


async def test_a_silent_stream_does_not_hold_up_the_sweeps(
    replica_set: ReplicaSet, database: Database, make_settings: MakeSettings
) -> None:
    """Changes happen and the stream is silent: sweeps come every SWEEP_SECONDS all the same, then it speaks again."""
    async with _reading(make_settings(CommonSettings, sweep_seconds=0.2)) as reader:
        silence = {"blockConnection": True, "blockTimeMS": 1500}
        with failing(replica_set, "getMore", namespace=database.requests.full_name, **silence) as failures:
            await reader.until(lambda: failures.times > 0)
            sweeps, turns = reader.sweeps, len(reader.turns)
            await database.requests.insert_one({"_id": "unheard"})
            await _watch_for(1.0, reader)
            assert 3 <= reader.sweeps - sweeps <= 6
            assert not any(turn.request_ids for turn in reader.turns[turns:])
        await reader.until_named("unheard")
        await database.requests.insert_one({"_id": "heard"})
        await reader.until_named("heard")
