"""Processes that stall: a gate in front of a real database's writes holds whoever comes, until it is opened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from imagepress.errors import ConflictError
from imagepress.mongo import Collection, Database

Process = Callable[[Database], Awaitable[Any]]

WRITES: Final = frozenset({"update_one", "update_many", "bulk_write", "delete_one", "delete_many"})

NEVER: Final = 99
"""More writes than any process makes here."""


class Gate:
    """Lets `passes` writes through, then holds whoever comes until it is opened."""

    def __init__(self, passes: int) -> None:
        self._passes = passes
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def passed(self) -> None:
        if self._passes == 0 and not self.opened.is_set():
            self.reached.set()
            await self.opened.wait()
        self._passes -= 1


class _Gated:
    """A collection whose writes pass a gate; everything else of it is as it was."""

    def __init__(self, collection: Collection, gate: Gate) -> None:
        self._collection = collection
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._collection, name)
        if name not in WRITES:
            return attribute

        async def write(*args: Any, **kwargs: Any) -> Any:
            await self._gate.passed()
            return await attribute(*args, **kwargs)

        return write


def _gated(database: Database, gate: Gate) -> Database:
    batches = cast("Collection", _Gated(database.batches, gate))
    return replace(database, batches=batches, requests=cast("Collection", _Gated(database.requests, gate)))


@dataclass
class Stalled:
    """A process that has looked, and has not written yet."""

    task: asyncio.Task[None]
    gate: Gate

    async def go_on(self) -> None:
        """Let it write, late, and wait for its end."""
        self.gate.opened.set()
        await asyncio.wait_for(self.task, 10)

    async def die(self) -> None:
        """Let it end without another write."""
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


async def until_stalled(database: Database, process: Process, *, after: int) -> Stalled | None:
    """Run `process` until it stalls before the write that follows `after` others; None where it has ended by itself.

    That somebody else was first (`ConflictError`: a lost lease, a run that has ended) is an end like any other.
    """
    gate = Gate(after)

    async def whole() -> None:
        with suppress(ConflictError):
            await process(_gated(database, gate))

    task = asyncio.create_task(whole())
    reached = asyncio.create_task(gate.reached.wait())
    await asyncio.wait({task, reached}, return_when=asyncio.FIRST_COMPLETED)
    reached.cancel()
    if not task.done():
        return Stalled(task, gate)
    await task
    return None
