"""What the notifier service says to MongoDB."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymongo import UpdateOne

from imagepress import leases
from imagepress.documents import WebhookState
from imagepress.mongo import Database, translates
from services.notifier.decide import Decision, Delivered, GivenUp, Result, RetryIn
from services.notifier.message import Claimed, claimed_from

Document = dict[str, Any]

LEASE: Final = "webhook.lease"

_DUE: Final[Document] = {"webhook.state": WebhookState.DUE, "webhook.lease.token": None}
_IS_DUE: Final[Document] = {"$expr": {"$lte": ["$webhook.next_attempt_at", "$$NOW"]}}


@dataclass(frozen=True, slots=True)
class Outcome:
    """An attempt that was made, and what follows from it."""

    webhook: Claimed
    result: Result
    decision: Decision


async def claim_due(
    database: Database, *, worker: str, seconds: float, limit: int, room: Callable[[str], int], full: Sequence[str]
) -> list[Claimed]:
    """Claim up to `limit` due webhooks, the longest due first, for each host as many as there is `room` for.

    Hosts that are `full` are passed over by the index, so that however much is due there hides nothing behind it.
    """
    free = {**_DUE, **_IS_DUE}
    if full:
        free["webhook.host"] = {"$nin": list(full)}
    claimed = await leases.claim_many(
        database.requests,
        path=LEASE,
        free=free,
        sort=[("webhook.next_attempt_at", 1)],
        worker=worker,
        seconds=seconds,
        limit=limit,
        hint="webhook_due",
        fields={"webhook.host": 1},
        choose=lambda rows: _within(rows, room),
    )
    return [claimed_from(request) for request in claimed]


def _within(rows: list[Document], room: Callable[[str], int]) -> list[Any]:
    """Return the ids of `rows`, in order, for which their host has room."""
    left: dict[str, int] = {}
    chosen = []
    for row in rows:
        host = row["webhook"]["host"]
        left.setdefault(host, room(host))
        if left[host] > 0:
            left[host] -= 1
            chosen.append(row["_id"])
    return chosen


@translates
async def next_due_in(database: Database) -> float | None:
    """Return the seconds until the next webhook is due, by the database's clock; None where none is waiting."""
    wait = {"$divide": [{"$subtract": ["$webhook.next_attempt_at", "$$NOW"]}, 1000]}
    pipeline: list[Document] = [
        {"$match": _DUE},
        {"$sort": {"webhook.next_attempt_at": 1}},
        {"$limit": 1},
        {"$project": {"seconds": wait}},
    ]
    async for row in database.requests.aggregate(pipeline, hint="webhook_due"):
        return max(0.0, float(row["seconds"]))
    return None


@translates
async def record(database: Database, outcomes: Sequence[Outcome]) -> None:
    """Write down attempts and what follows, many at a time: first the attempts, then the states.

    Both can be repeated: an attempt has its number as identity, a state is guarded by the lease. Whoever dies in
    between leaves a lease that runs out, and one more attempt with the same webhook-id follows.
    """
    attempts = [
        UpdateOne({"_id": attempt.pop("_id")}, {"$set": attempt, "$currentDate": {"at": True}}, upsert=True)
        for attempt in map(_attempt, outcomes)
    ]
    await database.attempts.bulk_write(attempts, ordered=False)
    await database.requests.bulk_write([_state(outcome) for outcome in outcomes], ordered=False)


def _attempt(outcome: Outcome) -> Document:
    webhook, result = outcome.webhook, outcome.result
    number = webhook.tries + 1
    return {
        "_id": f"{webhook.request_id}/{webhook.run}/{number}",
        "request_id": webhook.request_id,
        "run": webhook.run,
        "number": number,
        "status_code": result.status_code,
        "latency_ms": result.latency_ms,
        "answer": result.answer,
        "error": result.error,
    }


def _ours(webhook: Claimed) -> Document:
    return {"_id": webhook.request_id, "run": webhook.run, "webhook.lease.token": webhook.token}


def _state(outcome: Outcome) -> UpdateOne:
    """Return the update that uses up a step of the schedule, and frees the webhook."""
    values: Document = {"webhook.tries": outcome.webhook.tries + 1}
    match outcome.decision:
        case RetryIn(seconds):
            values["webhook.next_attempt_at"] = {"$add": ["$$NOW", int(seconds * 1000)]}
        case Delivered():
            values |= {"webhook.state": WebhookState.DELIVERED, "woken_at": "$$NOW"}
        case GivenUp():
            values |= {"webhook.state": WebhookState.GIVEN_UP, "woken_at": "$$NOW"}
    done = [LEASE, "webhook.not_before"]
    if not isinstance(outcome.decision, RetryIn):
        done.append("webhook.next_attempt_at")
    return UpdateOne(_ours(outcome.webhook), [{"$set": values}, {"$unset": done}])


@translates
async def give_back(database: Database, webhooks: Sequence[Claimed]) -> None:
    """Free webhooks that were not sent; no step of their schedule is used up."""
    updates = [UpdateOne(_ours(webhook), {"$unset": {LEASE: ""}}) for webhook in webhooks]
    if updates:
        await database.requests.bulk_write(updates, ordered=False)


@translates
async def put_off(database: Database, host: str, *, seconds: float, spread: float) -> int:
    """Move all of a host's webhooks that are due within `seconds` beyond that, spread over `spread` more.

    Returns how many. One update, however many they are; no step of their schedule is used up.
    """
    first_due = {"$ifNull": ["$webhook.not_before", "$webhook.next_attempt_at"]}
    until = {"$add": ["$$NOW", int(seconds * 1000), {"$toLong": {"$multiply": [{"$rand": {}}, spread * 1000]}}]}
    soon = {"$expr": {"$lt": ["$webhook.next_attempt_at", {"$add": ["$$NOW", int(seconds * 1000)]}]}}
    result = await database.requests.update_many(
        {"webhook.host": host, **_DUE, **soon},
        [{"$set": {"webhook.next_attempt_at": until, "webhook.not_before": first_due}}],
        hint="webhook_host",
    )
    return int(result.modified_count)


@translates
async def bring_forward(database: Database, host: str, *, spread: float) -> int:
    """Make the webhooks that were put off for a host due as they were, or within `spread` seconds; return how many."""
    soon = {"$add": ["$$NOW", {"$toLong": {"$multiply": [{"$rand": {}}, spread * 1000]}}]}
    result = await database.requests.update_many(
        {"webhook.host": host, **_DUE, "webhook.not_before": {"$exists": True}},
        [
            {"$set": {"webhook.next_attempt_at": {"$max": ["$webhook.not_before", soon]}}},
            {"$unset": "webhook.not_before"},
        ],
        hint="webhook_host",
    )
    return int(result.modified_count)


async def expire_leases(database: Database) -> int:
    """Free the webhooks of notifiers that died; return how many."""
    return len(await leases.expire(database.requests, path=LEASE, changes={}))
