"""How a batch leaves this worker: completed, resting, or given back, by one write guarded by the lease's token."""

from __future__ import annotations

from imagepress import logs, transitions
from imagepress.blobs import Blobs
from imagepress.errors import StorageUnavailable, TransientError
from imagepress.mongo import Database
from imagepress.retry import persist
from services.watcher import queries
from services.watcher.batch import BatchRun, fail_refused
from services.watcher.settings import WatcherSettings

log = logs.get(__name__)


async def conclude(database: Database, run: BatchRun, blobs: Blobs, settings: WatcherSettings) -> None:
    """Write the outcome of a batch, and end its request if that was the last one.

    Where the store refused, the batch rests and is tried again, until MAX_CLAIMS is used up. Raises `LeaseLost`, and
    `DatabaseUnavailable` when the lease has run out anyway.
    """
    await make_durable(run, blobs)
    if run.left and run.batch.claims < settings.max_claims:
        await _rest(database, run, settings)
        return
    fail_refused(run)
    batch, seconds = run.batch, settings.lease_seconds
    await persist(lambda: queries.complete_batch(database, batch, run.rows, run.progress()), seconds=seconds)
    ended = await persist(lambda: transitions.end_if_done(database, batch.request_id, batch.run), seconds=seconds)
    if ended:
        log.info(
            "request ended",
            request_id=batch.request_id,
            status=ended.status,
            succeeded=ended.succeeded,
            failed=ended.failed,
        )


async def make_durable(run: BatchRun, blobs: Blobs) -> None:
    """Have the images outlive a power cut before the database says that they are there; else open them again."""
    reason = "it lost images"
    try:
        await blobs.make_durable()
    except StorageUnavailable as error:
        reason = error.reason
    if blobs.losses != run.losses:  # somebody may have been told in our place
        log.warning("images that were stored may be lost", request_id=run.batch.request_id, problem=reason)
        run.take_back(reason)
        run.losses = blobs.losses


async def _rest(database: Database, run: BatchRun, settings: WatcherSettings) -> None:
    """Let the store recover: longer after each claim, and never longer than a lease."""
    seconds = min(2.0**run.batch.claims, settings.lease_seconds)
    await persist(
        lambda: queries.rest_batch(database, run.batch, run.copied_rows(), run.progress(), seconds=seconds),
        seconds=settings.lease_seconds,
    )


async def give_back(database: Database, run: BatchRun, blobs: Blobs, settings: WatcherSettings) -> None:
    """Return a batch, with what is done of it, for others to claim at once; else its lease does, later.

    What an isolated process has found out stands in the database already, and is newer than what this one knows.
    """
    await make_durable(run, blobs)
    done = {} if run.isolated else queries.outcome_fields(run.copied_rows(), run.progress())
    try:
        await persist(lambda: queries.give_back(database, run.batch, done), seconds=settings.database_timeout_seconds)
    except TransientError as error:
        log.warning("a batch is left to its lease", request_id=run.batch.request_id, problem=str(error))
