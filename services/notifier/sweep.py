"""What nobody was woken for: the leases of notifiers that died in the middle of a POST."""

from __future__ import annotations

import asyncio
import random
from typing import Final

from imagepress import backlog, logs, metrics
from imagepress.errors import TransientError
from imagepress.lifecycle import Stop
from imagepress.mongo import Database
from services.notifier import queries

log = logs.get(__name__)

_EXPIRED: Final = metrics.leases_expired.labels("webhook")


class Sweeper:
    """Returns expired leases when told to, a little later than told: replicas woken together spread out."""

    def __init__(self, database: Database, stop: Stop, *, spread_seconds: float) -> None:
        """Wait to be told."""
        self._database = database
        self._stop = stop
        self._spread_seconds = spread_seconds
        self._due = asyncio.Event()
        self._rng = random.Random()  # spreads replicas out, no secret

    def due(self) -> None:
        """A sweep is due."""
        self._due.set()

    async def run(self) -> None:
        """Sweep at every due time until the stop; trouble with the database is left to the next sweep."""
        while not self._stop.is_set:
            await self._stop.race(self._due.wait())
            if self._stop.is_set or await self._stop.wait(self._rng.uniform(0, self._spread_seconds)):
                return
            self._due.clear()
            try:
                await self.run_once()
            except TransientError as error:
                log.warning("a sweep was cut short", problem=str(error))

    async def run_once(self) -> None:
        """Return the webhooks of dead notifiers to the free ones. Raises `DatabaseUnavailable`."""
        await backlog.note_webhooks(self._database)
        if expired := await queries.expire(self._database):
            _EXPIRED.inc(expired)
            log.warning("leases ran out, webhooks returned", webhooks=expired)
