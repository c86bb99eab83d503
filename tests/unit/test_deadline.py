"""The clock of an image's hosts: it runs inside the context alone, over all its visits together."""

from __future__ import annotations

import asyncio

import pytest

from services.watcher.deadline import Deadline


async def test_time_outside_does_not_count() -> None:
    """What passes between two visits uses nothing up; what passes inside adds up."""
    deadline = Deadline(0.1)
    for _ in range(3):
        async with deadline:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.05)
    assert 0 < deadline.left <= 0.04


async def test_it_ends_what_takes_too_long() -> None:
    """The visit in which the time runs out ends with `TimeoutError`, and so does each later one."""
    deadline = Deadline(0.05)
    async with deadline:
        await asyncio.sleep(0.03)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with deadline:
                await asyncio.sleep(0.5)
    assert deadline.left <= 0


async def test_it_stands_still_while_the_wait_is_ours() -> None:
    """Time in our own queue does not count against a fetch, and gives it no more than it had."""
    deadline = Deadline(0.05)
    async with deadline:
        with deadline.standing_still():
            await asyncio.sleep(0.08)
        assert 0 < deadline.left <= 0.05
    with pytest.raises(TimeoutError):
        async with deadline:
            await asyncio.sleep(0.5)


async def test_errors_and_cancellations_from_outside_pass_through() -> None:
    """What ends the visit otherwise is neither hidden nor taken for the deadline."""
    deadline = Deadline(60)
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
