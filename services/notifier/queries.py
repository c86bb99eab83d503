"""What the notifier service says to MongoDB about due webhooks; `record` says what became of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from imagepress import leases, metrics
from imagepress.documents import ACTIVE, KNOWN, WebhookState
from imagepress.driver_errors import translates
from imagepress.mongo import Database

Document = dict[str, Any]

LEASE: Final = "webhook.lease"
_CLAIM: Final = metrics.claim_seconds.labels("webhook")
BY_TIME: Final = "webhook_due"
BY_HOST: Final = "webhook_host"
SOONEST: Final = [("webhook.next_attempt_at", 1)]
WINDOW: Final = 4
"""Due webhooks looked at for each free place, so that a host with many is seen to be one among others."""

# Equality with null also matches what has no lease at all, and is what the index sorts first.
FREE: Final[Document] = {"webhook.state": WebhookState.DUE, "webhook.lease.token": None, **KNOWN}
_NOW_DUE: Final[Document] = {"$lte": ["$webhook.next_attempt_at", "$$NOW"]}
# What is given back comes due anew: notifiers do not look again at what came due long ago.
_DUE_NOW: Final = {"webhook.next_attempt_at": "$$NOW", "woken_at": "$$NOW"}


def _updated(field: str) -> Document:
    return {"$getField": {"field": {"$literal": field}, "input": "$updateDescription.updatedFields"}}


NO_WORK: Final[Document] = {
    "$or": [
        {"$in": [_updated("webhook.state"), [WebhookState.DELIVERED, WebhookState.GIVEN_UP]]},
        {"$in": [_updated("status"), list(ACTIVE)]},
    ]
}
"""Changes of a request that bring nothing to send, though they wake others: a webhook that is settled (by this very
notifier, most often), and a run that begins."""


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
    waited: float
    """Seconds from coming due to the claim, by the database's clock."""
    request: Document = field(repr=False)
    """The document of the request, which the body tells about."""


@dataclass(frozen=True, slots=True)
class Where:
    """Which due webhooks to look at, and by which index."""

    condition: Document
    index: str


def ahead(seconds_back: float | None, behind: Collection[str]) -> Where:
    """Look at what came due in the last `seconds_back` (None: ever), except at the hosts left `behind`."""
    due = _NOW_DUE if seconds_back is None else _between(-seconds_back, 0)
    return Where({**FREE, "$expr": due, **_except(behind)}, BY_TIME)


def _between(first: float, last: float) -> Document:
    """Return the expression for coming due between two moments, in seconds from now."""
    moments = [{"$add": ["$$NOW", round(seconds * 1000)]} for seconds in (first, last)]
    due = "$webhook.next_attempt_at"
    return {"$and": [{"$gte": [due, moments[0]]}, {"$lte": [due, moments[1]]}]}


def _except(hosts: Collection[str]) -> Document:
    return {"webhook.host": {"$nin": list(hosts)}} if hosts else {}


def at_hosts(hosts: Sequence[str]) -> Where:
    """Look at what is due at these hosts."""
    return Where({**FREE, "$expr": _NOW_DUE, "webhook.host": {"$in": list(hosts)}}, BY_HOST)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a look at due webhooks brought."""

    taken: list[DueWebhook]
    exhausted: bool
    """Nothing else was due there that may be sent now."""
    crowded: set[str]
    """Hosts with more due than room."""


async def claim_due(
    database: Database, where: Where, *, worker: str, seconds: float, limit: int, room: Callable[[str], int]
) -> Claims:
    """Claim up to `limit` due webhooks for `seconds`, soonest first, for each host at most what it has `room` for."""
    window = limit * WINDOW
    seen: list[Document] = []
    chosen: list[str] = []
    crowded: set[str] = set()

    def choose(candidates: list[Document]) -> list[str]:
        seen.extend(candidates)
        chosen.extend(_within(candidates, limit, room, crowded))
        return chosen

    with _CLAIM.time():
        taken = await leases.claim_many(
            database.requests,
            path=LEASE,
            free=where.condition,
            sort=SOONEST,
            worker=worker,
            seconds=seconds,
            limit=window,
            hint=where.index,
            fields={"webhook.host": 1},
            choose=choose,
        )
    exhausted = len(seen) < window and len(chosen) < limit
    return Claims([_due(request, seconds) for request in taken], exhausted, crowded)


def _within(candidates: list[Document], limit: int, room: Callable[[str], int], crowded: set[str]) -> list[str]:
    """Return the ids of the first `limit` candidates that fit into what their hosts have room for; note who has not."""
    left: dict[str, int] = {}
    fitting: list[str] = []
    for candidate in candidates:
        host = candidate["webhook"]["host"]
        left.setdefault(host, room(host))
        if left[host] <= 0:
            crowded.add(host)
        elif len(fitting) < limit:
            left[host] -= 1
            fitting.append(candidate["_id"])
    return fitting


def _due(request: Document, lease_seconds: float) -> DueWebhook:
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
        waited=(webhook["lease"]["expires_at"] - webhook["next_attempt_at"]).total_seconds() - lease_seconds,
        request=request,
    )


@translates
async def next_due_seconds(database: Database, *, since: float, within: float, behind: Collection[str]) -> float | None:
    """Return the seconds until a webhook comes due that did not `since` seconds ago; None where none does `within`.

    Those of the hosts left `behind` do not count: there is no room for them anyway.
    """
    pipeline: list[Document] = [
        {"$match": {**FREE, "$expr": _between(-since, within), **_except(behind)}},
        {"$sort": dict(SOONEST)},
        {"$limit": 1},
        {"$project": {"milliseconds": {"$subtract": ["$webhook.next_attempt_at", "$$NOW"]}}},
    ]
    async for row in database.requests.aggregate(pipeline, hint=BY_TIME):
        return max(0.0, float(row["milliseconds"]) / 1000)
    return None


async def release(database: Database, held: Sequence[DueWebhook]) -> int:
    """Give webhooks back unsent, against nobody, and wake the notifiers; return how many were still held."""
    tokens = {due.request_id: due.token for due in held}
    return await leases.release(database.requests, path=LEASE, held=tokens, changes=_DUE_NOW)


async def expire(database: Database) -> int:
    """Return the webhooks of dead notifiers to the free ones, and wake the notifiers; return how many."""
    return len(await leases.expire(database.requests, path=LEASE, changes=_DUE_NOW))
