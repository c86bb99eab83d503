"""What a client may ask of a request that it has: to stop it, to try again what failed, to forget it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

from imagepress import logs, transitions
from imagepress.blobs import Blobs
from imagepress.documents import ACTIVE, PROGRESS_SECONDS, UNCLAIMED, RequestStatus
from imagepress.errors import ConflictError, ImagepressError, TransientError
from imagepress.mongo import Database, server_time
from services.ingest import command_queries

log = logs.get(__name__)

PATIENCE_SECONDS: Final = 2 * PROGRESS_SECONDS
"""In this time workers write down what they had done before: a period, and as much again for disk and database."""

LOOK_SECONDS: Final = 0.1

Document = dict[str, Any]


class NothingToRetry(ConflictError):
    """No image of the request has failed."""


class StillRunning(ConflictError):
    """The request has not ended yet."""


class HasEnded(ConflictError):
    """The request has ended already."""


async def cancel(database: Database, request: Document, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Stop a request: what has been done by now stays, and everything else ends as cancelled. Raises `HasEnded`.

    Batches that wait are not started any more. Those in hand are taken away once their workers have had
    `patience_seconds` to write down what they have done.
    """
    request_id, run = request["_id"], request["run"]
    if not await command_queries.ask_to_cancel(database, request_id, run):
        raise HasEnded
    # From here on it will be cancelled, by the sweep if not by this process.
    await transitions.fence_batches(database, request_id, run, among=UNCLAIMED)
    for _ in range(round(patience_seconds / LOOK_SECONDS)):
        if not await command_queries.is_in_hand(database, request_id):
            break
        await asyncio.sleep(LOOK_SECONDS)
    await transitions.cancel(database, request_id, run)
    log.info("request cancelled", request_id=request_id)


async def retry(database: Database, request: Document, *, turn_seconds: float) -> int:
    """Open the next run of an ended request, for the images that failed; return how many those are.

    The same order as an upload (rule 1): the batches are staged, the request is committed, the batches are released.
    What dies before the commit leaves staged batches of a run that does not exist, which the sweep puts back.
    Raises `StillRunning`, `NothingToRetry`.
    """
    if request["status"] in ACTIVE:
        raise StillRunning
    request_id, run = request["_id"], request["run"] + 1
    staged_at = await server_time(database)
    open_again = await command_queries.stage_failed(database, request_id, run, staged_at)
    if not open_again:
        raise NothingToRetry
    has_webhook = "webhook" in request
    if not await command_queries.commit_retry(database, request_id, run, staged_at=staged_at, has_webhook=has_webhook):
        raise ConflictError("somebody else has retried or removed the request in this moment")
    try:
        await transitions.release(database, request_id, run, turn_seconds=turn_seconds)
    except TransientError as error:  # it will be tried again: the sweep releases it as soon as the database is back
        log.warning("release left to the sweep", request_id=request_id, problem=str(error))
    log.info("request tried again", request_id=request_id, run=run, images=open_again)
    return open_again


async def remove(database: Database, blobs: Blobs, request: Document) -> None:
    """Forget a request: nobody is shown it any more, its images go now, and the sweep deletes the rest.

    A worker may still be storing one of its images: so the sweep looks once more, when every lease has run out.
    """
    if request["status"] in ACTIVE:
        with suppress(HasEnded):  # it has ended by itself in this moment, which is as good
            await cancel(database, request, patience_seconds=0)
    await command_queries.mark_removed(database, request["_id"])
    try:
        await blobs.delete_under(request["_id"])
    except ImagepressError as error:
        log.warning("images left to the sweep", request_id=request["_id"], problem=str(error))
    log.info("request removed", request_id=request["_id"], status=RequestStatus(request["status"]))
