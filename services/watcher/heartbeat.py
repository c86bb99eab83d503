"""Keeps the leases of a process's batches alive, and writes down what has become of their images so far."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from imagepress import logs, metrics
from imagepress.blobs import Blobs
from imagepress.documents import PROGRESS_SECONDS
from imagepress.errors import StorageUnavailable, TransientError
from imagepress.mongo import Database
from imagepress.retry import SETTLE_SECONDS, Trouble
from services.watcher import queries
from services.watcher.batch import BatchRun
from services.watcher.queries import Progress
from services.watcher.settings import WatcherSettings

log = logs.get(__name__)


@dataclass(slots=True)
class Held:
    """A batch in hand and the task that works on it. While `concluding`, its outcome is being written."""

    run: BatchRun
    task: asyncio.Task[None]
    noted: Progress
    """How far it was when that was last written down; at first, when it was claimed."""
    concluding: bool = False

    @property
    def has_news(self) -> bool:
        """Whether there is something to write down, and nobody does yet."""
        return not self.concluding and self.run.progress() != self.noted


async def beat(database: Database, settings: WatcherSettings, held: dict[str, Held], blobs: Blobs) -> None:
    """Go on until cancelled, through trouble: one update extends all leases, another notes all outcomes.

    They are independent: a disk that takes its time costs nobody a lease.
    """
    async with asyncio.TaskGroup() as tasks:
        keeping = _ever(lambda: extend(database, settings, held), settings.heartbeat_seconds, "the heartbeat")
        tasks.create_task(keeping, name="leases")
        noting = _ever(lambda: note_outcomes(database, held, blobs), PROGRESS_SECONDS, "noting outcomes")
        tasks.create_task(noting, name="outcomes")


async def _ever(step: Callable[[], Awaitable[None]], seconds: float, what: str) -> None:
    trouble = Trouble(log, what, settle_seconds=SETTLE_SECONDS)
    while True:
        await asyncio.sleep(seconds)
        try:
            await step()
        except TransientError as error:
            trouble.note(error)
        else:
            trouble.over()


async def extend(database: Database, settings: WatcherSettings, held: dict[str, Held]) -> None:
    """Extend every lease in hand; the work on a batch whose lease was lost is cancelled."""
    asked = list(held.values())
    tokens = {entry.run.batch.id: entry.run.batch.token for entry in asked}  # of two claims, the later one
    if not tokens:
        return
    kept = await queries.keep_batches(database, tokens, seconds=settings.lease_seconds)
    for entry in asked:
        batch = entry.run.batch
        is_kept = batch.id in kept and tokens[batch.id] == batch.token
        if not is_kept and not entry.concluding and not entry.task.done():
            metrics.leases_lost.inc()
            log.warning("lost the lease of a batch", request_id=batch.request_id, batch=batch.id)
            entry.task.cancel()


async def note_outcomes(database: Database, held: dict[str, Held], blobs: Blobs) -> None:
    """Write down the outcomes in batches that have new ones, in one round trip.

    So a cancellation, or the death of this process, leaves to the client what had been done for it. A batch on which a
    process of its own works has no new ones here. Work on cancelled requests ends.
    """
    if not held:
        return
    cancelling = await queries.find_cancelling(database, {entry.run.batch.request_id for entry in held.values()})
    losses = blobs.losses
    news = [_News(entry) for entry in held.values() if entry.has_news and entry.run.losses == losses]
    # What was copied was stored before this; what is stored from here on waits for the next time.
    if news and await _durable(blobs, losses):
        await queries.note_outcomes(database, [(one.entry.run.batch, one.fields) for one in news])
        for one in news:
            one.are_written()
    for entry in held.values():
        if entry.run.batch.request_id in cancelling and not entry.concluding:
            entry.task.cancel()


class _News:
    """What is new of a batch at one moment."""

    def __init__(self, entry: Held) -> None:
        run = entry.run
        self.entry = entry
        self.progress = run.progress()
        self.fields = queries.outcome_fields(run.copied_rows(), self.progress)
        self._settled = len(run.settled)

    def are_written(self) -> None:
        self.entry.noted = self.progress
        del self.entry.run.settled[: self._settled]  # nobody will have to open them again


async def _durable(blobs: Blobs, losses: int) -> bool:
    """Have the store vouch for what was put into it; whoever concludes a batch does what follows where it cannot."""
    try:
        await blobs.make_durable()
    except StorageUnavailable as error:
        log.warning("outcomes are not noted, since images that were stored may be lost", problem=str(error))
    return blobs.losses == losses
