"""What the watcher's sweep says to MongoDB."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from imagepress import leases
from imagepress.documents import ACTIVE, ENDED, KNOWN, STAGED_FOR_SECONDS, BatchStatus, WebhookState
from imagepress.driver_errors import translates
from imagepress.mongo import Database, server_time
from imagepress.transitions import lowest_turn
from services.watcher.queries import LEASE, wake

Document = dict[str, Any]

LEFT_ALONE_SECONDS: Final = 5
"""How long an ingest is left alone with what it has begun: the release of what it committed, or a cancellation."""


async def expire_batches(database: Database) -> int:
    """Return batches whose lease has run out to the pending ones; return how many."""
    base = await lowest_turn(database)
    died = {"$cond": [{"$eq": ["$lease.resting", True]}, 0, 1]}
    expired = await leases.expire(
        database.batches,
        path=LEASE,
        changes={
            "status": BatchStatus.PENDING,
            "turn": {"$min": ["$turn", base]} if base else "$turn",
            "expiries": {"$add": ["$expiries", died]},
        },
    )
    await wake(database, sorted({batch["request_id"] for batch in expired}))
    return len(expired)


@translates
async def unreleased(database: Database, *, limit: int) -> list[tuple[str, int]]:
    """Return (request id, run) of runs that were committed a while ago and whose batches are not all released."""
    before = await server_time(database) - timedelta(seconds=LEFT_ALONE_SECONDS)
    wanted = {
        "status": {"$in": ACTIVE},
        "woken_at": {"$lt": before},
        **KNOWN,
        "$expr": {"$lt": ["$released_run", "$run"]},
    }
    rows = database.requests.find(wanted, {"run": 1}).sort("created_at", 1).limit(limit).hint("active")
    return [(row["_id"], row["run"]) async for row in rows]


@translates
async def active_after(database: Database, after: datetime | None, *, limit: int) -> list[Document]:
    """Return active requests, oldest first, created after `after`: what ending them needs to know.

    `is_left` says that no ingest is at a cancellation any more.
    """
    wanted: Document = {"status": {"$in": ACTIVE}}
    if after is not None:
        wanted["created_at"] = {"$gt": after}
    # Not by `woken_at`: each lease of the request that runs out touches that, and with short ones it is never old.
    is_left = {"$lt": ["$cancelling_since", {"$subtract": ["$$NOW", LEFT_ALONE_SECONDS * 1000]}]}
    fields = {"run": 1, "created_at": 1, "cancelling": 1, "schema": 1, "is_left": is_left}
    return [row async for row in database.requests.find(wanted, fields).sort("created_at", 1).limit(limit)]


@translates
async def delete_orphans(database: Database, *, limit: int) -> int:
    """Delete staged batches that are older than an hour and belong to no request; return how many.

    Those that were staged for a retry that was never committed are put back as they were.
    """
    before = await server_time(database) - timedelta(seconds=STAGED_FOR_SECONDS)
    staged: Document = {"status": BatchStatus.STAGED, "staged_at": {"$lt": before}, **KNOWN}
    rows = database.batches.find(staged, {"request_id": 1, "run": 1}).limit(limit).hint("staged")
    run_staged = {row["request_id"]: row["run"] async for row in rows}
    owners = database.requests.find({"_id": {"$in": list(run_staged)}}, {"run": 1})
    run = {row["_id"]: row["run"] async for row in owners}
    if never_run := [request_id for request_id in run if run_staged[request_id] > run[request_id]]:
        as_it_was = {"status": "$staged_from", "run": {"$subtract": ["$run", 1]}}
        back: list[Document] = [{"$set": as_it_was}, {"$unset": "staged_from"}]
        await database.batches.update_many({**staged, "request_id": {"$in": never_run}}, back)
    if not (orphaned := list(run_staged.keys() - run.keys())):
        return 0
    result = await database.batches.delete_many({**staged, "request_id": {"$in": orphaned}})
    return int(result.deleted_count)


@translates
async def retire(database: Database, *, days: float, limit: int) -> int:
    """Mark requests that ended over `days` ago for deletion, unless their webhook is due still; return how many."""
    before = await server_time(database) - timedelta(days=days)
    old = {
        "status": {"$in": ENDED},
        "created_at": {"$lt": before},
        "ended_at": {"$lt": before},
        "webhook.state": {"$ne": WebhookState.DUE},
        "removed_at": {"$exists": False},
        **KNOWN,
    }
    rows = database.requests.find(old, {"_id": 1}).sort("created_at", 1).limit(limit).hint("active")
    chosen = [row["_id"] async for row in rows]
    if not chosen:
        return 0
    result = await database.requests.update_many(
        {**old, "_id": {"$in": chosen}}, {"$currentDate": {"removed_at": True}}
    )
    return int(result.modified_count)


@translates
async def removed(database: Database, *, for_seconds: float, limit: int) -> list[str]:
    """Return requests that were marked for deletion over `for_seconds` ago: no worker holds anything of them now."""
    before = await server_time(database) - timedelta(seconds=for_seconds)
    rows = database.requests.find({"removed_at": {"$lt": before}, **KNOWN}, {"_id": 1}).limit(limit).hint("removed")
    return [row["_id"] async for row in rows]


@translates
async def forget(database: Database, request_id: str) -> None:
    """Delete attempts, batches, then the request, whose images are gone."""
    await database.attempts.delete_many({"request_id": request_id})
    await database.batches.delete_many({"request_id": request_id})
    await database.requests.delete_one({"_id": request_id})
