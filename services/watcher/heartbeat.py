"""Keeps the leases of a process's batches alive, and writes down what has become of their images so far."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from imagepress import logs, metrics
from imagepress.blobs import Blobs
from imagepress.documents import PROGRESS_SECONDS
from imagepress.errors import TransientError
from imagepress.mongo import Database
from imagepress.retry import SETTLE_SECONDS, Trouble
from services.watcher import queries
from services.watcher.batch import BatchRun
from services.watcher.outcome import make_durable
from services.watcher.queries import Progress
from services.watcher.settings import WatcherSettings

log = logs.get(__name__)


@dataclass(slots=True)
class Held:
    """A batch in hand and the task that works on it. While `concluding`, its outcome is being written."""

    run: BatchRun
    task: asyncio.Task[None]
    noted: Progress
    """How far the batch is by what stands in the database."""
    concluding: bool = False


async def beat(database: Database, settings: WatcherSettings, held: dict[str, Held], blobs: Blobs) -> None:
    """Go on until cancelled, through trouble: one update extends all leases, another notes all outcomes.

    They are independent: a disk that takes its time costs nobody a lease.
    """
    trouble = Trouble(log, "the heartbeat", settle_seconds=SETTLE_SECONDS)
    async with asyncio.TaskGroup() as tasks:
        keeping = _ever(lambda: extend(database, settings, held), settings.heartbeat_seconds, trouble)
        tasks.create_task(keeping, name="leases")
        noting = _ever(lambda: note_outcomes(database, held, blobs), PROGRESS_SECONDS, trouble)
        tasks.create_task(noting, name="outcomes")


async def _ever(step: Callable[[], Awaitable[None]], seconds: float, trouble: Trouble) -> None:
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
    process of its own works has no new ones here.
    """
    news = [
        (entry, progress, queries.outcome_fields(entry.run.copied_rows(), progress))
        for entry in held.values()
        if not entry.concluding and (progress := entry.run.progress()) != entry.noted
    ]
    if not news:
        return
    # What was copied was stored before this call; what is stored during it waits for the next time.
    if not await make_durable([entry.run for entry, _, _ in news], blobs):
        return
    await queries.note_outcomes(database, [(entry.run.batch, fields) for entry, _, fields in news])
    for entry, progress, _ in news:
        entry.noted = progress
