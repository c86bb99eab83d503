"""The clock of an image's hosts: it runs inside the context alone, over all its visits together."""

from __future__ import annotations

import asyncio

import pytest

from services.watcher.deadline import Alarms, Deadline


async def test_time_outside_does_not_count() -> None:
    """What passes between two visits uses nothing up; what passes inside adds up."""
    deadline = Deadline(0.1, Alarms())
    for _ in range(3):
        async with deadline:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.05)
    assert 0 < deadline.left <= 0.04


async def test_it_ends_what_takes_too_long() -> None:
    """The visit in which the time runs out ends with `TimeoutError`, and so does each later one."""
    deadline = Deadline(0.05, Alarms())
    async with deadline:
        await asyncio.sleep(0.03)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with deadline:
                await asyncio.sleep(0.5)
    assert deadline.left <= 0


async def test_it_stands_still_while_the_wait_is_ours() -> None:
    """Time in our own queue does not count against a fetch, and gives it no more than it had."""
    deadline = Deadline(0.05, Alarms())
    async with deadline:
        with deadline.standing_still():
            await asyncio.sleep(0.08)
        assert 0 < deadline.left <= 0.05
    with pytest.raises(TimeoutError):
        async with deadline:
            await asyncio.sleep(0.5)


async def test_errors_and_cancellations_from_outside_pass_through() -> None:
    """What ends the visit otherwise is neither hidden nor taken for the deadline."""
    deadline = Deadline(60, Alarms())
    with pytest.raises(KeyError):
        async with deadline:
            raise KeyError

    async def visit() -> None:
        async with deadline:
            await asyncio.sleep(60)

    task = asyncio.create_task(visit())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("rings_first", [True, False])
async def test_being_cancelled_in_the_moment_it_rings_is_being_cancelled(rings_first: bool) -> None:
    """Whoever cancels the task must not be told of a timeout, and its cancellation must not be swallowed."""
    deadline = Deadline(0.02, Alarms())

    async def visit() -> None:
        async with deadline:
            await asyncio.sleep(60)

    task = asyncio.create_task(visit())
    await asyncio.sleep(0)
    for happens in (deadline.ring, task.cancel) if rings_first else (task.cancel, deadline.ring):
        happens()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_one_timer_rings_many_in_their_order() -> None:
    """Each is ended at its own time, whichever began first; those that ended before are left alone."""
    alarms = Alarms()
    ended: list[float] = []

    async def visit(seconds: float, takes: float) -> None:
        try:
            async with Deadline(seconds, alarms):
                await asyncio.sleep(takes)
        except TimeoutError:
            ended.append(seconds)

    clock = asyncio.get_running_loop().time
    began = clock()
    visits = [(0.3, 60), (0.1, 60), (30, 0), (0.2, 60), (30, 0.02)]
    await asyncio.gather(*(visit(seconds, takes) for seconds, takes in visits))
    assert ended == [0.1, 0.2, 0.3]
    assert 0.29 < clock() - began < 5


async def test_it_needs_a_task() -> None:
    """A callback of the event loop cannot be ended."""
    told = asyncio.get_running_loop().create_future()

    async def visit() -> None:
        async with Deadline(1, Alarms()):
            pass

    def run() -> None:
        try:
            visit().send(None)
        except RuntimeError as error:
            told.set_result(str(error))

    asyncio.get_running_loop().call_soon(run)
    assert "task" in await asyncio.wait_for(told, 5)
