"""Claims with an end, the same for batches and for webhooks.

A lease is `{token, worker, expires_at}` at a path of a document (`lease`, `webhook.lease`). Every claim draws a fresh
token; whoever writes afterwards filters on it, so a worker that lost its lease changes nothing, whatever it does.
All times are the database's (`$$NOW`). The caller says which documents are free (`free`) and what else a claim changes.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pymongo import ReturnDocument

from imagepress.documents import KNOWN
from imagepress.driver_errors import translates
from imagepress.mongo import Collection

Document = dict[str, Any]
Pipeline = list[Document]


def _lease(token: str, worker: str, seconds: float) -> Document:
    # $literal: a worker's name is text, and a pipeline would read one that begins with a dollar sign as a field.
    return {"token": token, "worker": {"$literal": worker}, "expires_at": _from_now(seconds)}


def _from_now(seconds: float) -> Document:
    return {"$add": ["$$NOW", int(seconds * 1000)]}


@translates
async def claim(
    collection: Collection,
    *,
    path: str,
    free: Mapping[str, Any],
    sort: Sequence[tuple[str, int]],
    worker: str,
    seconds: float,
    changes: Mapping[str, Any],
    hint: str,
) -> Document | None:
    """Take the first free document in `sort` order for `seconds`; None where there is none.

    `changes` are `$set` expressions of an update pipeline: our own text only. Returns the document as it is now.
    """
    lease = _lease(uuid.uuid4().hex, worker, seconds)
    found: Document | None = await collection.find_one_and_update(
        free,
        [{"$set": {path: lease, **changes}}],
        sort=list(sort),
        hint=hint,
        return_document=ReturnDocument.AFTER,
    )
    return found


@translates
async def claim_many(
    collection: Collection,
    *,
    path: str,
    free: Mapping[str, Any],
    sort: Sequence[tuple[str, int]],
    worker: str,
    seconds: float,
    limit: int,
    hint: str,
    fields: Mapping[str, Any],
    choose: Callable[[list[Document]], list[Any]],
) -> list[Document]:
    """Take many free documents at once under one fresh token, in three operations whatever the number.

    Of the first `limit` in `sort` order, with `fields` to judge them by, `choose` returns the ids to take. Somebody
    else may be quicker on any of them: only those really taken are returned.
    """
    found = collection.find(free, fields).sort(list(sort)).limit(limit).hint(hint)
    candidates = choose([row async for row in found])
    if not candidates:
        return []
    token = uuid.uuid4().hex
    chosen = {"_id": {"$in": candidates}}
    update = [{"$set": {path: _lease(token, worker, seconds)}}]
    taken = await collection.update_many({**free, **chosen}, update, hint="_id_")
    if not taken.modified_count:
        return []
    return [row async for row in collection.find({**chosen, f"{path}.token": token})]


@translates
async def extend(collection: Collection, *, path: str, held: Mapping[str, str], seconds: float) -> set[str]:
    """Extend the leases `held` ({document id: token}) to `seconds` from now, in one update; return the ids still held.

    What is missing from the answer was lost: expired and given to another, cancelled, or deleted.
    """
    tokens = list(held.values())
    ours = {"_id": {"$in": list(held)}, f"{path}.token": {"$in": tokens}}
    await collection.update_many(ours, [{"$set": {f"{path}.expires_at": _from_now(seconds)}}])
    rows = collection.find(ours, {"_id": 1, f"{path}.token": 1})
    return {row["_id"] async for row in rows if held[row["_id"]] == _token(row, path)}


def _token(row: Document, path: str) -> str:
    value: Any = row
    for part in (*path.split("."), "token"):
        value = value[part]
    return str(value)


@translates
async def release(collection: Collection, *, path: str, held: Mapping[str, str], changes: Mapping[str, Any]) -> int:
    """Give back what is `held` ({document id: token}), applying the pipeline `$set` expressions; return how many."""
    ours = {"_id": {"$in": list(held)}, f"{path}.token": {"$in": list(held.values())}}
    result = await collection.update_many(
        ours, [{"$set": dict(changes)}, {"$unset": path}] if changes else [{"$unset": path}]
    )
    return int(result.modified_count)


@translates
async def expire(collection: Collection, *, path: str, changes: Mapping[str, Any], limit: int = 1000) -> list[Document]:
    """Return documents whose lease has run out to the free ones, at most `limit`; return them as found, without rows.

    A separate sweep, never part of the claim: an `$or` there would cost every claim its index.
    """
    dead = {**KNOWN, f"{path}.expires_at": {"$type": "date"}, "$expr": {"$lt": [f"${path}.expires_at", "$$NOW"]}}
    found = [row async for row in collection.find(dead, {"rows": 0}).limit(limit)]
    if not found:
        return []
    # The condition stands in the update again: a heartbeat may have come in between.
    update: Pipeline = [{"$set": dict(changes)}, {"$unset": path}] if changes else [{"$unset": path}]
    await collection.update_many({"_id": {"$in": [row["_id"] for row in found]}, **dead}, update)
    return found
