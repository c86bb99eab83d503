"""Writes outcomes down, many at a time: while one write is under way, the next ones gather."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from imagepress import logs
from imagepress.errors import TransientError
from imagepress.mongo import Database
from imagepress.retry import persist
from services.notifier import queries
from services.notifier.queries import Outcome

log = logs.get(__name__)


class Recorder:
    """A queue of outcomes and the task that empties it."""

    def __init__(self, database: Database, *, patience_seconds: float, recorded: Callable[[Outcome], None]) -> None:
        """Try each write for `patience_seconds`, then leave it to the lease; `recorded` is called for each outcome."""
        self._database = database
        self._patience_seconds = patience_seconds
        self._recorded = recorded
        self._queue: asyncio.Queue[Outcome] = asyncio.Queue()

    def add(self, outcome: Outcome) -> None:
        """Have `outcome` written down soon."""
        self._queue.put_nowait(outcome)

    async def drain(self) -> None:
        """Wait until everything is written down, or left to its lease."""
        await self._queue.join()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            outcomes = [await self._queue.get()]
            while not self._queue.empty():
                outcomes.append(self._queue.get_nowait())
            try:
                await self._write(outcomes)
            finally:
                for outcome in outcomes:
                    self._recorded(outcome)
                    self._queue.task_done()

    async def _write(self, outcomes: list[Outcome]) -> None:
        try:
            await persist(lambda: queries.record(self._database, outcomes), seconds=self._patience_seconds)
        except TransientError as error:
            # The leases run out, and the webhooks are sent once more, with the same ids.
            log.warning("outcomes of webhooks are lost to their leases", webhooks=len(outcomes), problem=str(error))
