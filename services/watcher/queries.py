"""What the watcher service says to MongoDB."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from pymongo import UpdateOne

from imagepress import leases, metrics
from imagepress.documents import ACTIVE, KNOWN, BatchStatus, RequestStatus
from imagepress.driver_errors import translates
from imagepress.errors import ConflictError
from imagepress.mongo import Database, server_time
from imagepress.transitions import lowest_turn

Document = dict[str, Any]

LEASE: Final = "lease"

_CLAIM: Final = metrics.claim_seconds.labels("batch")


class LeaseLost(ConflictError):
    """The batch belongs to another worker by now."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known of a batch's images so far."""

    succeeded: int
    failed: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A batch that this worker holds, until its lease ends."""

    id: str
    token: str
    request_id: str
    run: int
    turn: int
    claims: int
    expiries: int
    rows: list[Document]
    options: Document
    suspect: list[int] | None
    traceparent: str | None

    @property
    def held(self) -> dict[str, str]:
        """Document id and lease token, as `leases` wants them."""
        return {self.id: self.token}


async def claim_batch(
    database: Database, *, worker: str, seconds: float, from_turn: int, only: Mapping[str, Any] | None = None
) -> Claimed | None:
    """Claim the pending batch with the lowest turn from `from_turn` on, None where there is none."""
    with _CLAIM.time():
        found = await leases.claim(
            database.batches,
            path=LEASE,
            free={"status": BatchStatus.PENDING, "turn": {"$gte": from_turn}, **KNOWN, **(only or {})},
            sort=[("turn", 1), ("_id", 1)],
            worker=worker,
            seconds=seconds,
            changes={"status": BatchStatus.PROCESSING, "claims": {"$add": ["$claims", 1]}},
            hint="claim",
        )
    return None if found is None else _claimed(found)


def _claimed(batch: Document) -> Claimed:
    return Claimed(
        id=batch["_id"],
        token=batch["lease"]["token"],
        request_id=batch["request_id"],
        run=batch["run"],
        turn=batch["turn"],
        claims=batch["claims"],
        expiries=batch["expiries"],
        rows=batch["rows"],
        options=batch["options"],
        suspect=batch.get("suspect"),
        traceparent=batch.get("traceparent"),
    )


@translates
async def find_claimed(database: Database, batch_id: str, token: str) -> Claimed:
    """Return a batch that is held under `token`. Raises `LeaseLost`."""
    found = await database.batches.find_one({"_id": batch_id, "lease.token": token, "status": BatchStatus.PROCESSING})
    if found is None:
        raise LeaseLost
    return _claimed(found)


@translates
async def start_request(database: Database, request_id: str, run: int) -> None:
    """Note the first claim of a run; nothing where it was noted before."""
    await database.requests.update_one(
        {"_id": request_id, "run": run, "status": RequestStatus.PENDING},
        {"$set": {"status": RequestStatus.PROCESSING}, "$currentDate": {"started_at": True}},
    )


@translates
async def complete_batch(database: Database, batch: Claimed, rows: list[Document], progress: Progress) -> None:
    """Write the outcome of a batch and add it to the request's progress. Raises `LeaseLost`, with nothing changed."""
    done = await database.batches.update_one(
        _ours(batch),
        {
            "$set": {"status": BatchStatus.COMPLETED, **outcome_fields(rows, progress)},
            "$unset": {LEASE: "", "suspect": ""},
        },
    )
    if not done.modified_count:
        raise LeaseLost
    await database.requests.update_one(
        {"_id": batch.request_id, "run": batch.run, "status": {"$in": ACTIVE}},
        {
            "$inc": {
                "images.succeeded": progress.succeeded,
                "images.failed": progress.failed,
                "bytes.input": progress.bytes_in,
                "bytes.output": progress.bytes_out,
            }
        },
    )


def _ours(batch: Claimed) -> Document:
    return {"_id": batch.id, "lease.token": batch.token, "status": BatchStatus.PROCESSING}


def outcome_fields(rows: list[Document], progress: Progress) -> Document:
    """Return the fields of a batch that say what became of its images."""
    return {
        "rows": rows,
        "succeeded": progress.succeeded,
        "failed": progress.failed,
        "bytes_in": progress.bytes_in,
        "bytes_out": progress.bytes_out,
    }


@translates
async def give_back(database: Database, batch: Claimed, done: Document) -> None:
    """Return a batch with what is `done` of it (fields of `outcome_fields`) to the pending ones, against nobody.

    Its turn becomes the lesser of its own and the lowest waiting one, so that it is not behind what came later.
    """
    base = await lowest_turn(database)
    returned = {"status": BatchStatus.PENDING, "turn": min(batch.turn, base or batch.turn), **done}
    result = await database.batches.update_one(_ours(batch), {"$set": returned, "$unset": {LEASE: "", "suspect": ""}})
    if result.modified_count:
        await wake(database, [batch.request_id])


@translates
async def rest_batch(
    database: Database, batch: Claimed, rows: list[Document], progress: Progress, *, seconds: float
) -> None:
    """Keep a batch from being claimed for `seconds`, since the store refuses; then the sweep returns it."""
    until = await server_time(database) + timedelta(seconds=seconds)
    resting = {"token": "resting", "worker": "", "expires_at": until, "resting": True}
    rested = {LEASE: resting, **outcome_fields(rows, progress)}
    await database.batches.update_one(_ours(batch), {"$set": rested, "$unset": {"suspect": ""}})


async def keep_batches(database: Database, held: Mapping[str, str], *, seconds: float) -> set[str]:
    """Extend the leases of all batches of a process in one update; return the ids of those still held."""
    return await leases.extend(database.batches, path=LEASE, held=held, seconds=seconds)


@translates
async def note_outcomes(database: Database, outcomes: Sequence[tuple[Claimed, Document]]) -> None:
    """Write down what has become of the images of batches in hand (`outcome_fields`), all in one round trip."""
    updates = [UpdateOne(_ours(batch), {"$set": fields}) for batch, fields in outcomes]
    await database.batches.bulk_write(updates, ordered=False)


@translates
async def find_cancelling(database: Database, request_ids: Collection[str]) -> set[str]:
    """Return those of the requests that a client has asked to cancel, or that are gone."""
    going_on = database.requests.find({"_id": {"$in": list(request_ids)}, "cancelling": {"$ne": True}}, {"_id": 1})
    return set(request_ids) - {row["_id"] async for row in going_on}


@translates
async def note_suspect(database: Database, batch: Claimed, suspect: list[int] | None, rows: list[Document]) -> None:
    """Quarantine: write down which image ([row, n, times]) is touched next, and what is known of the others.

    Raises `LeaseLost`.
    """
    result = await database.batches.update_one(_ours(batch), {"$set": {"suspect": suspect, "rows": rows}})
    if not result.matched_count:
        raise LeaseLost


@translates
async def find_suspect(database: Database, batch: Claimed) -> Document | None:
    """Return `suspect` and `rows` of a quarantined batch as they are written down; None where the lease was lost."""
    found: Document | None = await database.batches.find_one(_ours(batch), {"suspect": 1, "rows": 1})
    return found


@translates
async def wake(database: Database, request_ids: list[str]) -> None:
    """Touch requests, so that everyone looks again."""
    if request_ids:
        await database.requests.update_many({"_id": {"$in": request_ids}}, {"$currentDate": {"woken_at": True}})
