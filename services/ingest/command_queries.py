"""What the ingest service says to MongoDB when a client cancels, retries or removes a request."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from imagepress.documents import ACTIVE, BatchStatus, ImageStatus, RequestStatus, WebhookState
from imagepress.driver_errors import translates
from imagepress.mongo import Database
from services.ingest.queries import COMMITTED_WITHIN, SHOWN


@translates
async def ask_to_cancel(database: Database, request_id: str, run: int) -> bool:
    """Note that the client wants run `run` stopped; return whether it could still be."""
    result = await database.requests.update_one(
        {"_id": request_id, "run": run, "status": {"$in": ACTIVE}},
        {"$set": {"cancelling": True}, "$currentDate": {"woken_at": True, "cancelling_since": True}},
    )
    return bool(result.matched_count)


@translates
async def is_in_hand(database: Database, request_id: str) -> bool:
    """Return whether a worker has a batch of the request in hand; one that rests is in nobody's."""
    claimed = {"request_id": request_id, "status": BatchStatus.PROCESSING, "lease.resting": {"$ne": True}}
    return await database.batches.find_one(claimed, {"_id": 1}, hint="recount") is not None


@translates
async def stage_failed(database: Database, request_id: str, run: int, staged_at: datetime) -> int:
    """Stage the batches of an ended request that have images without success, for `run`; return how many images.

    Can be repeated: what an earlier try staged for the same run is counted again.
    """
    staged = {"request_id": request_id, "status": BatchStatus.STAGED, "run": run}
    # First what an earlier try left: if the sweep is quicker, and puts it back, it is staged anew below.
    await database.batches.update_many(staged, {"$set": {"staged_at": staged_at}})
    done = {"$in": [BatchStatus.COMPLETED, BatchStatus.CANCELLED]}
    unfinished = {"rows": {"$elemMatch": {"images": {"$elemMatch": {"status": {"$ne": ImageStatus.SUCCEEDED}}}}}}
    values = {"status": BatchStatus.STAGED, "run": run, "claims": 0, "expiries": 0, "staged_at": staged_at}
    await database.batches.update_many(
        {"request_id": request_id, "status": done, "run": {"$lt": run}, **unfinished},
        [{"$set": {"staged_from": "$status", **values}}],
    )
    images = 0
    async for batch in database.batches.find(staged, {"rows.images.status": 1}):
        images += sum(image.get("status") != ImageStatus.SUCCEEDED for row in batch["rows"] for image in row["images"])
    return images


@translates
async def commit_retry(
    database: Database, request_id: str, run: int, *, staged_at: datetime, has_webhook: bool
) -> bool:
    """Open run `run` of an ended request: the commit; return whether nobody else was first.

    It comes too late where the sweep may have put back by now what was staged at `staged_at`.
    """
    values: dict[str, Any] = {"run": run, "status": RequestStatus.PENDING, "images.failed": 0}
    if has_webhook:
        values |= {"webhook.state": WebhookState.WAITING, "webhook.tries": 0}
    result = await database.requests.update_one(
        {
            "_id": request_id,
            "run": run - 1,
            "status": {"$nin": ACTIVE},
            "$expr": {"$lt": ["$$NOW", staged_at + COMMITTED_WITHIN]},
            **SHOWN,
        },
        {
            "$set": values,
            "$unset": {
                "cancelling": "",
                "cancelling_since": "",
                "started_at": "",
                "ended_at": "",
                "webhook.lease": "",
                "webhook.next_attempt_at": "",
                "webhook.not_before": "",
                "webhook.schedule_from": "",
                "webhook.settled_at": "",
            },
            "$currentDate": {"woken_at": True},
        },
    )
    return bool(result.modified_count)


@translates
async def mark_removed(database: Database, request_id: str) -> None:
    """Hide an ended request from everyone, and leave its deletion to the sweep; its webhook is not sent any more."""
    await database.requests.update_one(
        {"_id": request_id}, {"$unset": {"webhook": ""}, "$currentDate": {"removed_at": True}}
    )
