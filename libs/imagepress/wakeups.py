"""The only file that knows change streams. Everyone else reads an `async for` whose every turn means "look again".

A wake-up carries no work. It comes once the stream is open (so that what was there before is swept), at changes of the
requests (coalesced while the reader is busy), and in any case every `sweep_seconds`. That is why no resume token is
stored: whatever the stream missed is found by the next sweep.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from pymongo import ReadPreference
from pymongo.errors import PyMongoError
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent
from pymongo.read_concern import ReadConcern

from imagepress import logs, metrics
from imagepress.lifecycle import Stop
from imagepress.mongo import open_client
from imagepress.retry import Backoff
from imagepress.settings import CommonSettings

log = logs.get(__name__)

# Of a change only the request's id and its time are kept. Claims and heartbeats touch other fields and wake nobody.
PIPELINE: Final[list[dict[str, Any]]] = [
    {
        "$match": {
            "$or": [
                {"operationType": {"$in": ["insert", "replace", "delete"]}},
                {"updateDescription.updatedFields.status": {"$exists": True}},
                {"updateDescription.updatedFields.woken_at": {"$exists": True}},
            ]
        }
    },
    {"$project": {"_id": 1, "operationType": 1, "documentKey": 1, "wallTime": 1}},
]

# How long the server holds an idle getMore: also the longest that closing the stream can take.
AWAIT_MS: Final = 200

# A stream whose primary was killed stays silent for the time in which its client looks for a server (30 s unless said).
STREAM_TIMEOUT_SECONDS: Final = 2.0

# More changed requests than this in one turn are told as "everything may have changed".
MOST_IDS: Final = 10_000


@dataclass(frozen=True, slots=True)
class WakeUp:
    """Look again. `sweep`: from the beginning; otherwise the requests that changed are named."""

    sweep: bool
    request_ids: frozenset[str] = frozenset()


class _Failures(CommandListener):
    """Counts the commands of the stream's client that failed, which the driver does not tell while it resumes."""

    def __init__(self) -> None:
        self.count = 0

    def started(self, event: CommandStartedEvent) -> None:
        """Nothing has failed yet."""

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing has failed."""

    def failed(self, _event: CommandFailedEvent) -> None:
        """Count it."""
        self.count += 1


class Wakeups:
    """Wake-ups of one container. `async for wake_up in wakeups` while `run` is a running task."""

    def __init__(self, settings: CommonSettings, stop: Stop, *, ignoring: Mapping[str, Any] | None = None) -> None:
        """Prepare; nothing is opened before `run`. `ignoring` is an expression for changes that shall wake nobody."""
        self._settings = settings
        wanted, fields = PIPELINE
        self._pipeline = [wanted, {"$match": {"$expr": {"$not": [ignoring]}}}, fields] if ignoring else PIPELINE
        self._stop = stop
        self._changed: set[str] = set()
        self._sweep = True
        self._ring = asyncio.Event()
        self._failures = _Failures()
        self._open_gauge = metrics.stream_open.labels(settings.collection_name)
        self._openings = metrics.stream_opened.labels(settings.collection_name)
        self._lag = metrics.stream_lag_seconds.labels(settings.collection_name)
        self.is_open = False
        """Whether the stream is open: for readiness and metrics."""
        self.opened = 0
        """How often it has been opened."""

    async def __aiter__(self) -> AsyncIterator[WakeUp]:
        """Yield a wake-up per change or burst of changes, and one with `sweep` at least every `sweep_seconds`."""
        deadline = 0.0
        while not self._stop.is_set:
            now = asyncio.get_running_loop().time()
            if self._sweep or now >= deadline:
                self._sweep = False
                deadline = now + self._settings.sweep_seconds
                yield self._taken(sweep=True)
            elif self._changed:
                yield self._taken(sweep=False)
            else:
                self._ring.clear()
                await self._stop.race(self._ring.wait(), timeout=deadline - now)

    def _taken(self, *, sweep: bool) -> WakeUp:
        changed, self._changed = self._changed, set()
        return WakeUp(sweep=sweep or len(changed) > MOST_IDS, request_ids=frozenset(changed))

    async def run(self) -> None:
        """Keep the stream open until the stop: after any trouble, and after a silent end, back off, reopen, sweep."""
        backoff = Backoff(first=0.1, longest=5.0)
        # A client of its own: its short timeouts suit nothing else, and it never waits for a pooled connection.
        client = open_client(self._settings, timeout_seconds=STREAM_TIMEOUT_SECONDS, listeners=[self._failures])
        collection = client[self._settings.database_name].get_collection(
            self._settings.collection_name,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("majority"),  # the only one that change streams take
        )
        try:
            while not self._stop.is_set:
                reason = "it ended without an error"
                try:
                    async with collection.watch(self._pipeline, max_await_time_ms=AWAIT_MS, batch_size=1000) as stream:
                        self._has_opened()
                        await self._read(stream, backoff)
                except PyMongoError as error:
                    reason = str(error)[:200]
                if not self._stop.is_set:
                    await self._has_ended(reason, backoff.delay())
        finally:
            self.is_open = False
            self._open_gauge.set(0)
            client.close()

    async def _read(self, stream: Any, backoff: Backoff) -> None:
        failed = self._failures.count
        while stream.alive and not self._stop.is_set:
            change = await stream.try_next()
            if change is not None and "documentKey" in change:
                self._changed.add(str(change["documentKey"]["_id"]))
                self._note_lag(change)
                self._ring.set()
            if self._failures.count > failed:
                return  # the driver resumes by itself, in silence and without end: reopening backs off, and sweeps
            if change is None:
                backoff.reset()  # it lived through a quiet period: the next trouble is a new one

    def _note_lag(self, change: dict[str, Any]) -> None:
        if "wallTime" in change:  # since MongoDB 6.0
            self._lag.observe(max(0.0, time.time() - change["wallTime"].timestamp()))

    def _has_opened(self) -> None:
        self.opened += 1
        self._openings.inc()
        self.is_open = True
        self._open_gauge.set(1)
        self._sweep = True
        self._ring.set()
        log.info("change stream open" if self.opened == 1 else "change stream open again", times=self.opened)

    async def _has_ended(self, reason: str, delay: float) -> None:
        if self.is_open:  # once, not at each try to reopen
            log.warning("change stream lost, reopening", reason=reason)
        self.is_open = False
        self._open_gauge.set(0)
        self._sweep = True
        self._ring.set()
        with suppress(TimeoutError):
            await self._stop.wait(delay)
