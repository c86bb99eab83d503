"""What the ingest service says to MongoDB."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from imagepress.documents import (
    COMMITTED_WITHIN_SECONDS,
    KNOWN,
    SCHEMA,
    BatchDocument,
    BatchStatus,
    Options,
    RequestStatus,
    RowDocument,
    WebhookDocument,
    WebhookState,
    batch_id,
    batch_ids,
)
from imagepress.driver_errors import translated, translates
from imagepress.errors import ConflictError, NewerSchema
from imagepress.mongo import Database

SHOWN: Final[dict[str, Any]] = {"removed_at": {"$exists": False}}
"""Of a request that its client has not asked to forget."""

COMMITTED_WITHIN: Final = timedelta(seconds=COMMITTED_WITHIN_SECONDS)

Position = tuple[datetime, str]
"""When a request was created, and its id: where it stands in the list of all."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A checked upload that is about to be stored."""

    request_id: str
    filename: str
    rows: int
    images: int
    options: Options
    webhook_url: str | None
    client: str | None = None
    traceparent: str | None = None


def batch_document(upload: Upload, seq: int, rows: list[RowDocument], staged_at: datetime) -> BatchDocument:
    """Return batch `seq` of an upload, staged: nobody can claim it before the request is committed."""
    document: BatchDocument = {
        "_id": batch_id(upload.request_id, seq),
        "request_id": upload.request_id,
        "run": 1,
        "seq": seq,
        "status": BatchStatus.STAGED,
        "claims": 0,
        "expiries": 0,
        "staged_at": staged_at,
        "schema": SCHEMA,
        "rows": rows,
        "options": upload.options,
        "succeeded": 0,
        "failed": 0,
        "bytes_in": 0,
        "bytes_out": 0,
    }
    if upload.traceparent:
        document["traceparent"] = upload.traceparent
    return document


@translates
async def stage(database: Database, batches: list[BatchDocument]) -> None:
    """Insert staged batches, a chunk of a few megabytes at a time."""
    await database.batches.insert_many([dict(batch) for batch in batches], ordered=False)


@translates
async def unstage(database: Database, request_id: str) -> None:
    """Delete the staged batches of an upload that was not committed."""
    await database.batches.delete_many({"request_id": request_id, "status": BatchStatus.STAGED})


async def commit(database: Database, upload: Upload) -> None:
    """Insert the request: from here on it is accepted, and will be finished whatever dies.

    An upsert, so that the times are the database's. A driver that repeats it after a lost answer finds it done.
    """
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "run": 1,
        "status": RequestStatus.PENDING,
        "released_run": 0,
        "source": {"filename": upload.filename, "rows": upload.rows},
        "images": {"total": upload.images, "succeeded": 0, "failed": 0},
        "bytes": {"input": 0, "output": 0},
        "options": upload.options,
    }
    if upload.webhook_url:
        document["webhook"] = _webhook(upload.webhook_url)
    if upload.client:
        document["client"] = upload.client
    if upload.traceparent:
        document["traceparent"] = upload.traceparent
    try:
        with translated():
            await database.requests.update_one(
                {"_id": upload.request_id, "schema": {"$exists": False}},
                {"$set": document, "$currentDate": {"created_at": True, "woken_at": True}},
                upsert=True,
            )
    except ConflictError:
        return  # it exists: the first try was carried out, only its answer was lost


def _webhook(url: str) -> WebhookDocument:
    return {"url": url, "host": (urlsplit(url).hostname or "").lower(), "state": WebhookState.WAITING, "tries": 0}


@translates
async def find_request(database: Database, request_id: str, *, client: str | None = None) -> dict[str, Any] | None:
    """Return the request document, None where there is none, it is not `client`'s, or is wanted forgotten.

    Raises `NewerSchema`.
    """
    found: dict[str, Any] | None = await database.requests.find_one({"_id": request_id, **_of(client), **SHOWN})
    if found and found["schema"] > SCHEMA:
        raise NewerSchema
    return found


def _of(client: str | None) -> dict[str, Any]:
    """Return the condition for requests of `client`; of everybody's where it is None."""
    return {} if client is None else {"client": client}


@translates
async def list_requests(
    database: Database,
    *,
    client: str | None,
    status: RequestStatus | None,
    before: Position | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Return at most `limit` request documents of a client, or of all, newest first, older than `before`."""
    wanted: dict[str, Any] = {**_of(client), **SHOWN, **KNOWN}
    if status:
        wanted["status"] = status
    if before:
        created_at, request_id = before
        # The first condition alone bounds the scan of the index; the second parts requests of the same millisecond.
        wanted["created_at"] = {"$lte": created_at}
        wanted["$or"] = [{"created_at": {"$lt": created_at}}, {"_id": {"$lt": request_id}}]
    newest = [("created_at", -1), ("_id", -1)]
    found: list[dict[str, Any]] = await database.requests.find(wanted).sort(newest).limit(limit).to_list(limit)
    return found


async def batches_of(
    database: Database, request_id: str, *, first_row: int = 0, last_row: int | None = None
) -> AsyncIterator[dict[str, Any]]:
    """Yield the batches that hold any row from `first_row` to `last_row`, in the order of the file."""
    wanted: dict[str, Any] = {"_id": batch_ids(request_id)}
    if first_row or last_row is not None:
        rows = {"$gte": first_row} if last_row is None else {"$gte": first_row, "$lte": last_row}
        wanted["rows"] = {"$elemMatch": {"row": rows}}
    fields = {"rows": 1, "status": 1, "run": 1}
    with translated():
        # Few at a time: a batch may be a megabyte, and the reader of a large status may be slow.
        async for batch in database.batches.find(wanted, fields).sort("_id", 1).batch_size(4):
            yield batch
