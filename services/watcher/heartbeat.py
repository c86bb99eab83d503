"""Keeps the leases of a process's batches alive, and writes down how far they are."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from imagepress import logs, metrics
from imagepress.errors import TransientError
from imagepress.mongo import Database
from imagepress.retry import SETTLE_SECONDS, Trouble
from services.watcher import queries
from services.watcher.batch import BatchRun
from services.watcher.queries import Progress
from services.watcher.settings import WatcherSettings

log = logs.get(__name__)

PROGRESS_SECONDS: Final = 1.0
"""Progress inside a batch is written down this often at most."""


@dataclass(slots=True)
class Held:
    """A batch in hand and the task that works on it. While `concluding`, its outcome is being written."""

    run: BatchRun
    task: asyncio.Task[None]
    concluding: bool = False
    noted: Progress | None = None


async def beat(database: Database, settings: WatcherSettings, held: dict[str, Held]) -> None:
    """Go on until cancelled: one update extends all leases, another notes all progress. Trouble is waited out."""
    clock = asyncio.get_running_loop().time
    extended = clock()
    trouble = Trouble(log, "the heartbeat", settle_seconds=SETTLE_SECONDS)
    interval = min(PROGRESS_SECONDS, settings.heartbeat_seconds)
    while True:
        await asyncio.sleep(interval)
        try:
            await note_progress(database, held)
            if clock() - extended + interval > settings.heartbeat_seconds:
                await extend(database, settings, held)
                extended = clock()
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


async def note_progress(database: Database, held: dict[str, Held]) -> None:
    """Write down the progress of batches that have any since the last time, in one round trip."""
    news = {}
    for id_, entry in held.items():
        progress = entry.run.progress()
        if progress != entry.noted and progress.succeeded + progress.failed and not entry.concluding:
            news[id_] = (entry.run.batch, progress)
    await queries.note_progress(database, news)
    for id_, (_, progress) in news.items():
        if id_ in held:
            held[id_].noted = progress
