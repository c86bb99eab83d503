"""What the notifier service says to MongoDB about due webhooks; `record` says what became of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from imagepress import leases
from imagepress.documents import KNOWN, WebhookState
from imagepress.mongo import Database, translates

Document = dict[str, Any]

LEASE: Final = "webhook.lease"
INDEX: Final = "webhook_due"
SOONEST: Final = [("webhook.next_attempt_at", 1)]
WINDOW: Final = 4
"""Due webhooks looked at for each free place, so that a host with many is seen to be one among others."""

# Equality with null also matches what has no lease at all, and is what the index sorts first.
_FREE: Final[Document] = {"webhook.state": WebhookState.DUE, "webhook.lease.token": None, **KNOWN}
_NOW_DUE: Final[Document] = {"$expr": {"$lte": ["$webhook.next_attempt_at", "$$NOW"]}}


@dataclass(frozen=True, slots=True)
class DueWebhook:
    """A webhook that this notifier holds, until its lease ends."""

    request_id: str
    run: int
    token: str
    url: str = field(repr=False)  # may hold a password
    host: str
    client: str | None
    tries: int
    schedule_from: int
    """Tries made before the schedule (last) began, with a redelivery."""
    request: Document = field(repr=False)
    """The document of the request, which the body tells about."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a look at the due webhooks brought. `exhausted`: nothing else was due that may be sent now."""

    taken: list[DueWebhook]
    exhausted: bool


async def claim_due(
    database: Database, *, worker: str, seconds: float, limit: int, room: Callable[[str], int], full: Sequence[str]
) -> Claims:
    """Claim up to `limit` due webhooks for `seconds`, soonest first, for each host at most what it has `room` for.

    Those of hosts in `full` are not even looked at.
    """
    window = limit * WINDOW
    seen: list[Document] = []
    chosen: list[str] = []

    def choose(candidates: list[Document]) -> list[str]:
        seen.extend(candidates)
        chosen.extend(_within(candidates, limit, room))
        return chosen

    taken = await leases.claim_many(
        database.requests,
        path=LEASE,
        free={**_FREE, **_NOW_DUE, **_not_of(full)},
        sort=SOONEST,
        worker=worker,
        seconds=seconds,
        limit=window,
        hint=INDEX,
        fields={"webhook.host": 1},
        choose=choose,
    )
    return Claims([_due(request) for request in taken], exhausted=len(seen) < window and len(chosen) < limit)


def _not_of(hosts: Sequence[str]) -> Document:
    return {"webhook.host": {"$nin": list(hosts)}} if hosts else {}


def _within(candidates: list[Document], limit: int, room: Callable[[str], int]) -> list[str]:
    """Return the ids of the first `limit` candidates that fit into what their hosts have room for."""
    left: dict[str, int] = {}
    fitting: list[str] = []
    for candidate in candidates:
        host = candidate["webhook"]["host"]
        left.setdefault(host, room(host))
        if left[host] > 0 and len(fitting) < limit:
            left[host] -= 1
            fitting.append(candidate["_id"])
    return fitting


def _due(request: Document) -> DueWebhook:
    webhook = request["webhook"]
    return DueWebhook(
        request_id=request["_id"],
        run=request["run"],
        token=webhook["lease"]["token"],
        url=webhook["url"],
        host=webhook["host"],
        client=request.get("client"),
        tries=webhook["tries"],
        schedule_from=webhook.get("schedule_from", 0),
        request=request,
    )


@translates
async def next_due_seconds(database: Database, full: Sequence[str]) -> float | None:
    """Return the seconds until the next free webhook of a host not in `full` is due; None where there is none."""
    pipeline: list[Document] = [
        {"$match": {**_FREE, **_not_of(full)}},
        {"$sort": dict(SOONEST)},
        {"$limit": 1},
        {"$project": {"milliseconds": {"$subtract": ["$webhook.next_attempt_at", "$$NOW"]}}},
    ]
    async for row in database.requests.aggregate(pipeline, hint=INDEX):
        return max(0.0, (row["milliseconds"] or 0) / 1000)
    return None


async def release(database: Database, held: Sequence[DueWebhook]) -> int:
    """Give webhooks back unsent, against nobody, and wake the notifiers; return how many were still held."""
    tokens = {due.request_id: due.token for due in held}
    return await leases.release(database.requests, path=LEASE, held=tokens, changes={"woken_at": "$$NOW"})


async def expire(database: Database) -> int:
    """Return the webhooks of dead notifiers to the free ones, and wake the notifiers; return how many."""
    return len(await leases.expire(database.requests, path=LEASE, changes={"woken_at": "$$NOW"}))


@translates
async def put_off(database: Database, host: str, *, seconds: float, spread: float) -> int:
    """Move what a resting host has due within `seconds` past that time, spread over `spread` more; return how many.

    One update, however many they are. No step of a schedule is used up; `not_before` keeps when each was due.
    """
    until: Document = {"$add": ["$$NOW", int(seconds * 1000)]}
    result = await database.requests.update_many(
        {**_FREE, "webhook.host": host, "$expr": {"$lt": ["$webhook.next_attempt_at", until]}},
        [
            {
                "$set": {
                    "webhook.not_before": {"$ifNull": ["$webhook.not_before", "$webhook.next_attempt_at"]},
                    "webhook.next_attempt_at": {"$add": [until, _random(spread)]},
                }
            }
        ],
        hint="webhook_host",
    )
    return int(result.modified_count)


@translates
async def bring_forward(database: Database, host: str, *, spread: float) -> int:
    """Make what was put off for a host due within `spread` seconds, none before it was due; return how many."""
    soon: Document = {"$add": ["$$NOW", _random(spread)]}
    result = await database.requests.update_many(
        {**_FREE, "webhook.host": host, "webhook.not_before": {"$exists": True}},
        [
            {"$set": {"webhook.next_attempt_at": {"$max": ["$webhook.not_before", soon]}}},
            {"$unset": "webhook.not_before"},
        ],
        hint="webhook_host",
    )
    return int(result.modified_count)


def _random(spread: float) -> Document:
    """Return an expression for up to `spread` seconds, in milliseconds, drawn anew for each document."""
    return {"$toLong": {"$multiply": [{"$rand": {}}, spread * 1000]}}
