"""What became of webhooks, written down: many results at a time, each under the lease that it was made under."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from imagepress.documents import WebhookState
from imagepress.driver_errors import translates
from imagepress.mongo import Database
from imagepress.retry import persist
from services.notifier.decide import Decision, Delivered, GivenUp, Result, RetryAt
from services.notifier.queries import LEASE, DueWebhook

Document = dict[str, Any]

_DUPLICATE_KEY: Final = 11000
MOST_AT_ONCE: Final = 500
"""Results in one write: half a megabyte of answers at most."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A webhook, what its POST came to, and what follows."""

    due: DueWebhook
    result: Result
    decision: Decision


@translates
async def write(database: Database, outcomes: Sequence[Outcome]) -> None:
    """Write attempts and states, in two operations; where a lease was lost, or the run is over, no state changes.

    The attempts come first: whoever dies in between leaves a webhook that is sent once more under the same number.
    """
    try:
        await database.attempts.bulk_write([_attempt(outcome) for outcome in outcomes], ordered=False)
    except BulkWriteError as error:
        if any(problem["code"] != _DUPLICATE_KEY for problem in (error.details or {}).get("writeErrors", ())):
            raise
    await database.requests.bulk_write([_state(outcome) for outcome in outcomes], ordered=False)


def _attempt(outcome: Outcome) -> UpdateOne:
    """Return the insertion of an attempt, unless its number is taken: an upsert, so that the time is the database's."""
    due, result = outcome.due, outcome.result
    number = due.tries + 1
    attempt: Document = {
        "request_id": due.request_id,
        "run": due.run,
        "number": number,
        "status_code": result.status_code,
        "latency_ms": result.latency_ms,
        "answer": result.answer,
        "error": _reason(outcome),
    }
    new = {"_id": f"{due.request_id}/{due.run}/{number}", "number": {"$exists": False}}
    return UpdateOne(new, {"$set": attempt, "$currentDate": {"at": True}}, upsert=True)


def _reason(outcome: Outcome) -> str | None:
    """Return what people should know beside the status: the error, and why there will be no further attempt."""
    final = outcome.decision.reason if isinstance(outcome.decision, GivenUp) else None
    return "; ".join(filter(None, (outcome.result.error, final))) or None


def _state(outcome: Outcome) -> UpdateOne:
    due = outcome.due
    ours = {"_id": due.request_id, "run": due.run, f"{LEASE}.token": due.token}
    if isinstance(outcome.decision, RetryAt):
        return UpdateOne(ours, _retry(outcome.decision.delay))
    state = WebhookState.DELIVERED if isinstance(outcome.decision, Delivered) else WebhookState.GIVEN_UP
    return UpdateOne(
        ours,
        {
            "$set": {"webhook.state": state},
            "$inc": {"webhook.tries": 1},
            "$unset": {LEASE: "", "webhook.next_attempt_at": "", "webhook.not_before": ""},
            "$currentDate": {"webhook.settled_at": True, "woken_at": True},  # live progress shows it
        },
    )


def _retry(delay: float) -> list[Document]:
    due_at = {"$add": ["$$NOW", math.ceil(delay * 1000)]}  # never earlier than asked
    return [
        {"$set": {"webhook.tries": {"$add": ["$webhook.tries", 1]}, "webhook.next_attempt_at": due_at}},
        {"$unset": [LEASE, "webhook.not_before"]},
    ]


class Recorder:
    """Collects outcomes: while some are being written, the next ones gather, and go into one write together."""

    def __init__(self, database: Database, *, seconds: float) -> None:
        """Write to `database`, trying for `seconds` while it is away; nothing is written before `run`."""
        self._database = database
        self._seconds = seconds
        self._waiting: list[tuple[Outcome, asyncio.Future[None]]] = []
        self._ring = asyncio.Event()

    async def record(self, outcome: Outcome) -> None:
        """Return when the outcome is written. Raises `TransientError` where the database stayed away for too long."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((outcome, written))
        self._ring.set()
        await written

    async def run(self) -> None:
        """Write until cancelled, which is for when nobody records any more."""
        while True:
            await self._ring.wait()
            batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            if not self._waiting:
                self._ring.clear()
            await self._write(batch)

    async def _write(self, batch: list[tuple[Outcome, asyncio.Future[None]]]) -> None:
        outcomes = [outcome for outcome, _ in batch]
        try:
            await persist(lambda: write(self._database, outcomes), seconds=self._seconds)
        except Exception as error:
            for _, written in batch:
                if not written.done():
                    written.set_exception(error)
            return
        for _, written in batch:
            if not written.done():
                written.set_result(None)
