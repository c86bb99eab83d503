"""How much waits, and for how long: looked at by the sweeps, for metrics. A scrape asks the database nothing."""

from __future__ import annotations

from typing import Any, Final

from imagepress import metrics
from imagepress.documents import BatchStatus, RequestStatus, WebhookState
from imagepress.driver_errors import translates
from imagepress.mongo import Database

MOST: Final = 10_000
"""What is counted at most: enough to be alarmed and to scale by, and some milliseconds for the database."""

LOOKED_AT: Final = 100
"""Pending requests, oldest first, that are asked since when they wait."""

Document = dict[str, Any]


@translates
async def note_batches(database: Database) -> None:
    """Count the pending batches, and note how long a request has waited for its first claim at most."""
    pending = {"status": BatchStatus.PENDING}
    number = await database.batches.count_documents(pending, limit=MOST, hint="pending")
    oldest: list[Document] = [
        {"$match": {"status": RequestStatus.PENDING}},
        {"$sort": {"created_at": 1}},
        {"$limit": LOOKED_AT},
        # A retried request is as old as ever, but waits only since it was woken.
        {"$group": {"_id": None, "age": {"$max": _age("$woken_at")}}},
    ]
    found = await database.requests.aggregate(oldest, hint="active").to_list(1)
    _note("batch", number, found[0]["age"] if found else 0)


@translates
async def note_webhooks(database: Database) -> None:
    """Count the webhooks that are due and that nobody holds, and note since when the oldest of them is due."""
    due: list[Document] = [
        {
            "$match": {
                "webhook.state": WebhookState.DUE,
                "webhook.lease.token": None,
                "$expr": {"$lte": ["$webhook.next_attempt_at", "$$NOW"]},
            }
        },
        {"$sort": {"webhook.next_attempt_at": 1}},
        {"$limit": MOST},
        {"$group": {"_id": None, "number": {"$sum": 1}, "age": {"$max": _age("$webhook.next_attempt_at")}}},
    ]
    found = await database.requests.aggregate(due, hint="webhook_due").to_list(1)
    _note("webhook", found[0]["number"] if found else 0, found[0]["age"] if found else 0)


def _note(kind: str, number: int, milliseconds: int) -> None:
    metrics.queue_depth.labels(kind).set(number)
    metrics.queue_oldest_seconds.labels(kind).set(milliseconds / 1000)


def _age(since: str) -> Document:
    return {"$subtract": ["$$NOW", since]}
