"""What the ingest service says to MongoDB about webhooks: what became of them, and that they be sent again."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pymongo import ReturnDocument

from imagepress.documents import KNOWN, WebhookState
from imagepress.driver_errors import translates
from imagepress.mongo import Database

Document = dict[str, Any]
Position = tuple[datetime, str]
"""When an attempt was made, and its `_id`: where it stands in the log."""

_RECEIVED: Final = {"status_code": {"$gte": 200, "$lt": 300}}

# `tries` goes on counting, for it numbers the attempts; the schedule begins anew behind it.
_AGAIN: Final[list[Document]] = [
    {
        "$set": {
            "webhook.state": WebhookState.DUE,
            "webhook.schedule_from": "$webhook.tries",
            "webhook.next_attempt_at": "$$NOW",
            "woken_at": "$$NOW",
        }
    },
    {"$unset": ["webhook.lease", "webhook.not_before", "webhook.settled_at"]},
]


@translates
async def attempts_of(
    database: Database,
    request_id: str,
    *,
    run: int | None,
    received: bool | None,
    before: Position | None,
    limit: int,
) -> list[Document]:
    """Return at most `limit` attempts of a request, newest first: of one run, or those that were `received` or not."""
    conditions: list[Document] = [{"request_id": request_id}]
    if run is not None:
        conditions.append({"run": run})
    if received is not None:
        conditions.append(_RECEIVED if received else {"$nor": [_RECEIVED]})
    if before is not None:
        at, attempt_id = before
        conditions.append({"$or": [{"at": {"$lt": at}}, {"at": at, "_id": {"$lt": attempt_id}}]})
    newest = [("at", -1), ("_id", -1)]
    cursor = database.attempts.find({"$and": conditions}, hint="of_request").sort(newest).limit(limit)
    found: list[Document] = await cursor.to_list(limit)
    return found


@translates
async def redeliver(database: Database, request_id: str, run: int) -> Document | None:
    """Make the settled webhook of a run due again; return the request, None where its webhook is not settled."""
    settled = {"$in": [WebhookState.DELIVERED, WebhookState.GIVEN_UP]}
    found: Document | None = await database.requests.find_one_and_update(
        {"_id": request_id, "run": run, "webhook.state": settled}, _AGAIN, return_document=ReturnDocument.AFTER
    )
    return found


@translates
async def redeliver_since(database: Database, since: datetime, *, client: str | None) -> int:
    """Make due again what was given up since a moment, of one client's requests or (None) of all; return how many."""
    given_up: Document = {"webhook.state": WebhookState.GIVEN_UP, "webhook.settled_at": {"$gte": since}, **KNOWN}
    theirs = {} if client is None else {"client": client}
    result = await database.requests.update_many({**given_up, **theirs}, _AGAIN, hint="webhook_given_up")
    return int(result.modified_count)
