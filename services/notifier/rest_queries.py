"""What the notifier says to MongoDB about all that is due at one host: put off while it rests, and brought forward."""

from __future__ import annotations

from typing import Any

from imagepress.driver_errors import translates
from imagepress.mongo import Database
from services.notifier.queries import BY_HOST, FREE

Document = dict[str, Any]


@translates
async def put_off(database: Database, host: str, *, seconds: float, spread: float) -> int:
    """Move what a resting host has due within `seconds` past that time, spread over `spread` more; return how many.

    One update, however many they are. No step of a schedule is used up; `not_before` keeps when each was due.
    """
    until: Document = {"$add": ["$$NOW", int(seconds * 1000)]}
    result = await database.requests.update_many(
        {**FREE, "webhook.host": host, "$expr": {"$lt": ["$webhook.next_attempt_at", until]}},
        [
            {
                "$set": {
                    "webhook.not_before": {"$ifNull": ["$webhook.not_before", "$webhook.next_attempt_at"]},
                    "webhook.next_attempt_at": {"$add": [until, _random(spread)]},
                }
            }
        ],
        hint=BY_HOST,
    )
    return int(result.modified_count)


@translates
async def bring_forward(database: Database, host: str, *, spread: float) -> int:
    """Make what was put off for a host due within `spread` seconds, none before it was due; return how many."""
    soon: Document = {"$add": ["$$NOW", _random(spread)]}
    result = await database.requests.update_many(
        {**FREE, "webhook.host": host, "webhook.not_before": {"$exists": True}},
        [
            {"$set": {"webhook.next_attempt_at": {"$max": ["$webhook.not_before", soon]}}},
            {"$unset": "webhook.not_before"},
        ],
        hint=BY_HOST,
    )
    return int(result.modified_count)


def _random(spread: float) -> Document:
    """Return an expression for up to `spread` seconds, in milliseconds, drawn anew for each document."""
    return {"$toLong": {"$multiply": [{"$rand": {}}, spread * 1000]}}
