"""Rule 1, an upload is all or nothing: stage the batches, commit the request, release the batches.

The file is read twice, so that memory stays flat: once to find every problem, once to store. A process that dies before
the commit leaves staged batches, which the watchers' sweep deletes; one that dies after it, a release that the sweep
finishes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import BinaryIO, Final

from imagepress import logs, transitions
from imagepress.documents import RowDocument
from imagepress.errors import ImagepressError, TransientError
from imagepress.mongo import Database, server_time
from services.ingest import idempotency, queries
from services.ingest.batching import batches, numbered
from services.ingest.csv_rows import Checked, Row, read_rows
from services.ingest.csv_rows import check as check_rows
from services.ingest.idempotency import Key
from services.ingest.queries import Upload
from services.ingest.settings import IngestSettings

log = logs.get(__name__)

# Batches to a chunk: about 100 KB each at most, typically, and one insert_many of at most 16 MB whatever the URLs are.
CHUNK: Final = 16


class StagedTooLongAgo(TransientError):
    """The upload was not stored in time; please send it again."""


async def check(file: BinaryIO, *, max_images: int, encoding: str | None = None) -> Checked:
    """Read the whole file for its problems, in a thread."""
    return await asyncio.to_thread(_check, file, max_images, encoding)


def _check(file: BinaryIO, max_images: int, encoding: str | None) -> Checked:
    file.seek(0)
    return check_rows(file, encoding=encoding, max_images=max_images)


async def accept(
    database: Database,
    upload: Upload,
    file: BinaryIO,
    settings: IngestSettings,
    *,
    encoding: str | None = None,
    skip: bool = False,
    key: Key | None = None,
) -> str:
    """Store a checked file, with `skip` only its good rows; return its request id once it is accepted.

    With a `key` that came with it before, that is the request of then. Raises `DatabaseUnavailable`, or
    `StagedTooLongAgo` where this process has slept, with nothing accepted; `KeyReused`.
    """
    if key and (earlier := await idempotency.accepted_before(database, key)):
        return earlier
    try:
        await _stage(database, upload, file, settings.batch_images, encoding, skip=skip)
    except BaseException:
        await _tidy(database, upload.request_id)
        raise
    request_id = await _noted(database, upload.request_id, key) if key else upload.request_id
    await queries.commit(database, replace(upload, request_id=request_id))
    try:
        await transitions.release(database, request_id, 1, turn_seconds=settings.turn_seconds)
    except TransientError as error:
        # Accepted is accepted: the sweep releases it as soon as the database is back.
        log.warning("release left to the sweep", request_id=request_id, problem=str(error))
    return request_id


async def _stage(
    database: Database, upload: Upload, file: BinaryIO, batch_images: int, encoding: str | None, *, skip: bool = False
) -> None:
    """Store every batch, staged.

    Raises `StagedTooLongAgo`, and `RuntimeError` if that were not exactly the images that were counted before.
    """
    file.seek(0)
    found = numbered(batches(_rows(file, encoding, skip=skip), batch_images=batch_images))
    staged_at = await server_time(database)
    images = 0
    while chunk := await asyncio.to_thread(_next, found):
        images += sum(len(row["images"]) for _, batch in chunk for row in batch)
        await queries.stage(database, [queries.batch_document(upload, *batch, staged_at) for batch in chunk])
    if images != upload.images:
        raise RuntimeError(f"{images} images were staged of an upload that has {upload.images}")
    if await server_time(database) > staged_at + queries.COMMITTED_WITHIN:
        raise StagedTooLongAgo


def _rows(file: BinaryIO, encoding: str | None, *, skip: bool) -> Iterator[Row]:
    for row in read_rows(file, encoding=encoding):
        if isinstance(row, Row):
            yield row
        elif not skip:  # the first pass saw the same bytes and found nothing
            raise TypeError(f"a checked file has a problem in line {row.line}: {row.message}")


def _next(found: Iterator[tuple[int, list[RowDocument]]]) -> list[tuple[int, list[RowDocument]]]:
    return list(islice(found, CHUNK))


async def _noted(database: Database, request_id: str, key: Key) -> str:
    """Return the request to commit under a key. Where it is not this one, what this one staged is deleted.

    Not where the note failed for want of the database: it may have been carried out, and another call may build on it.
    """
    try:
        noted = await idempotency.note(database, key, request_id)
    except idempotency.KeyReused:
        await _tidy(database, request_id)
        raise
    if noted != request_id:
        await _tidy(database, request_id)
    return noted


async def _tidy(database: Database, request_id: str) -> None:
    """Delete what was staged, if the database lets us; the sweep does it otherwise."""
    try:
        await asyncio.shield(queries.unstage(database, request_id))
    except ImagepressError as error:
        log.warning("staged batches left to the sweep", request_id=request_id, problem=str(error))
