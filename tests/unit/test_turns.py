"""Places shared by turns: a small batch is not behind all of a large one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.watcher.turns import Turns


@asynccontextmanager
async def _place(turns: Turns, key: str) -> AsyncIterator[None]:
    await turns.acquire(key)
    try:
        yield
    finally:
        turns.release()


async def _hold(turns: Turns, key: str, served: list[str], gate: asyncio.Event) -> None:
    async with _place(turns, key):
        served.append(key)
        await gate.wait()


async def _settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_batches_take_turns_whatever_the_length_of_their_queues() -> None:
    """With one place, a newcomer's waiter is served after one of the giant's, not after all of them."""
    turns, served, gate = Turns(1), list[str](), asyncio.Event()
    gate.set()
    async with _place(turns, "busy"):
        tasks = [asyncio.create_task(_hold(turns, "giant", served, gate)) for _ in range(5)]
        await _settled()
        tasks += [asyncio.create_task(_hold(turns, "small", served, gate)) for _ in range(2)]
        await _settled()
    await asyncio.gather(*tasks)
    assert served == ["giant", "small", "giant", "small", "giant", "giant", "giant"]


async def test_no_more_than_the_places_are_given() -> None:
    """Three places are held by three, and the fourth waits until one is free."""
    turns, served, gate = Turns(3), list[str](), asyncio.Event()
    tasks = [asyncio.create_task(_hold(turns, f"{n}", served, gate)) for n in range(4)]
    await _settled()
    assert served == ["0", "1", "2"]
    gate.set()
    await asyncio.gather(*tasks)
    assert served[3] == "3"


@pytest.mark.parametrize("settle_first", [True, False])
async def test_a_cancelled_waiter_loses_no_place(settle_first: bool) -> None:
    """Cancelled while waiting, or in the moment of being served: the place goes to the next one."""
    turns, served, gate = Turns(1), list[str](), asyncio.Event()
    gate.set()
    async with _place(turns, "busy"):
        cancelled = asyncio.create_task(_hold(turns, "a", served, gate))
        after = asyncio.create_task(_hold(turns, "b", served, gate))
        await _settled()
        if settle_first:
            cancelled.cancel()
            await _settled()
    cancelled.cancel()
    await asyncio.gather(cancelled, after, return_exceptions=True)
    assert "b" in served
    async with asyncio.timeout(1), _place(turns, "c"):
        pass


async def test_a_place_that_becomes_free_in_the_moment_of_a_cancellation_is_not_lost() -> None:
    """A waiter is cancelled and, before its task runs again, a place becomes free: the next waiter gets it."""
    turns, served, gate = Turns(1), list[str](), asyncio.Event()
    gate.set()
    async with _place(turns, "busy"):
        waiting = [asyncio.create_task(_hold(turns, "a", served, gate)) for _ in range(2)]
        other = asyncio.create_task(_hold(turns, "b", served, gate))
        await _settled()
        for task in waiting:
            task.cancel()
    results = await asyncio.gather(*waiting, other, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, asyncio.CancelledError, type(None)]
    assert served == ["b"]
    async with asyncio.timeout(1), _place(turns, "c"):
        pass
