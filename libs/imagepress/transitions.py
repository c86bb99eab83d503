"""The steps of a request's life that more than one service may have to take: release its batches, end its run.

Each can be repeated by anyone at any time, and a process that dies in the middle leaves something that the next caller
(at the latest the watchers' sweep) finishes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from imagepress import logs, metrics
from imagepress.documents import ACTIVE, ENDED, OPEN, BatchStatus, ImageStatus, RequestStatus, WebhookState, batch_ids
from imagepress.driver_errors import translates
from imagepress.mongo import Database, Session, durable_view

log = logs.get(__name__)
Document = dict[str, Any]

for _status in ENDED:
    metrics.requests_ended.labels(_status)

_TOTALS: Final = ("succeeded", "failed", "bytes_in", "bytes_out")


@translates
async def release(database: Database, request_id: str, run: int, *, turn_seconds: float) -> int:
    """Make the staged batches of a committed run claimable and wake the watchers; return how many there were.

    Start-time fair queueing (architecture, rule 6): batch `seq` gets turn `base + seq`, where `base` is the lowest turn
    among pending batches that were never claimed, and at least the server's time in units of `turn_seconds`.
    """
    base = await lowest_turn(database)
    clock = {"$floor": {"$divide": [{"$toLong": "$$NOW"}, turn_seconds * 1000]}}
    turn = {"$toLong": {"$add": [{"$max": [base, clock]}, "$seq"]}}
    result = await database.batches.update_many(
        {"request_id": request_id, "status": BatchStatus.STAGED, "run": run},
        [{"$set": {"status": BatchStatus.PENDING, "turn": turn}}],
    )
    await database.requests.update_one(
        {"_id": request_id, "run": run}, {"$set": {"released_run": run}, "$currentDate": {"woken_at": True}}
    )
    return int(result.modified_count)


@translates
async def lowest_turn(database: Database) -> int:
    """Return the lowest turn among pending batches that were never claimed; 0 where there is none."""
    first = await database.batches.find_one(
        {"status": BatchStatus.PENDING, "claims": 0}, {"turn": 1}, sort=[("turn", 1), ("_id", 1)], hint="claim"
    )
    return int(first["turn"]) if first else 0


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that this call has ended."""

    status: RequestStatus
    succeeded: int
    failed: int


@translates
async def end_if_done(database: Database, request_id: str, run: int) -> Ended | None:
    """End run `run` of a request, if no batch of it is open; None where it goes on, or where somebody else ended it.

    One guarded update sets the status, the totals from a recount, and the webhook to due, together (rule 4).
    """
    if await _has_open_batch(database, request_id):
        return None  # nearly always, for one look
    active: Document = {"_id": request_id, "run": run, "status": {"$in": ACTIVE}}
    # The end is written into the request, but follows from its batches: an outcome that a failover undoes after it was
    # counted would be told wrongly for ever. Whoever completes the last batch sees it here, since a majority has
    # acknowledged it; at worst a new primary does not know yet what a majority has, and the sweep ends the run.
    async with durable_view(database) as view:
        request = await database.requests.find_one(
            active, {"cancelling": 1, "webhook.url": 1, "images": 1}, session=view
        )
        if request is None or await _has_open_batch(database, request_id, view):
            return None
        totals = await _recount(database, request_id, view)
    cancelled = bool(request.get("cancelling"))
    ended = Ended(_final(totals, cancelled=cancelled), totals["succeeded"], totals["failed"])
    # A cancellation that arrives between the look and this write makes the guard fail: whoever cancels ends it.
    active["cancelling"] = True if cancelled else {"$ne": True}
    active["webhook"] = {"$exists": "webhook" in request}  # a request that was removed meanwhile has none
    if not cancelled and ended.succeeded + ended.failed != request["images"]["total"]:
        log.error("images do not add up", request_id=request_id, totals=totals, images=request["images"])
    result = await database.requests.update_one(active, _ending(ended, totals, has_webhook="webhook" in request))
    if not result.modified_count:
        return None
    metrics.requests_ended.labels(ended.status).inc()
    return ended


async def _has_open_batch(database: Database, request_id: str, view: Session | None = None) -> bool:
    # First the last one of the file, which is claimed last: while it is open there is no need to look among the others,
    # whose every change of status has left a deleted entry in the index to wade through.
    of_request = {"_id": batch_ids(request_id)}
    last = await database.batches.find_one(of_request, {"status": 1}, sort=[("_id", -1)], hint="_id_", session=view)
    if last is not None and last["status"] in OPEN:
        return True
    open_ = {"request_id": request_id, "status": {"$in": OPEN}}
    found = await database.batches.find_one(open_, {"_id": 0, "status": 1}, hint="recount", session=view)
    return found is not None


@translates
async def fence_batches(
    database: Database, request_id: str, run: int, *, among: Sequence[BatchStatus] = tuple(OPEN)
) -> int:
    """Take the open batches of a request out of everyone's hands, as cancelled; return how many there were.

    Whoever works on one has lost its lease, and changes nothing. Counts become those of the outcomes written in the
    rows: what a worker has not written down is lost with it.
    """
    joined = {"$concatArrays": ["$$value", "$$this.images"]}
    images: Document = {"$reduce": {"input": "$rows", "initialValue": [], "in": joined}}
    result = await database.batches.update_many(
        {"request_id": request_id, "run": run, "status": {"$in": list(among)}},
        [
            {"$set": {"images": images}},
            {
                "$set": {
                    "status": BatchStatus.CANCELLED,
                    "succeeded": _count_of(ImageStatus.SUCCEEDED),
                    "failed": _count_of(ImageStatus.FAILED),
                    "bytes_in": {"$sum": "$images.bytes_in"},
                    "bytes_out": {"$sum": "$images.bytes_out"},
                }
            },
            {"$unset": ["images", "lease", "suspect"]},
        ],
    )
    return int(result.modified_count)


def _count_of(status: ImageStatus) -> Document:
    of_status = {"$eq": ["$$this.status", {"$literal": status}]}
    return {"$size": {"$filter": {"input": "$images", "cond": of_status}}}


async def cancel(database: Database, request_id: str, run: int) -> Ended | None:
    """Finish a cancellation that was asked for (`cancelling` on the request): fence its batches, end the run.

    Images that have an outcome keep it; the others end as cancelled. What fails here is repeated by the sweep.
    """
    await fence_batches(database, request_id, run)
    return await end_if_done(database, request_id, run)


async def _recount(database: Database, request_id: str, view: Session) -> dict[str, int]:
    """Add up what the batches of a request say; covered by the index, however many there are."""
    sums: Document = {name: {"$sum": f"${name}"} for name in _TOTALS}
    pipeline = [{"$match": {"request_id": request_id}}, {"$group": {"_id": None, **sums}}]
    async for row in database.batches.aggregate(pipeline, hint="recount", session=view):
        return {name: int(row[name]) for name in _TOTALS}
    return dict.fromkeys(_TOTALS, 0)


def _final(totals: dict[str, int], *, cancelled: bool) -> RequestStatus:
    if cancelled:
        return RequestStatus.CANCELLED
    return RequestStatus.COMPLETED if totals["succeeded"] else RequestStatus.FAILED


def _ending(ended: Ended, totals: dict[str, int], *, has_webhook: bool) -> Document:
    values: Document = {
        "status": ended.status,
        "images.succeeded": totals["succeeded"],
        "images.failed": totals["failed"],
        "bytes": {"input": totals["bytes_in"], "output": totals["bytes_out"]},
    }
    clock: Document = {"ended_at": True, "woken_at": True}
    if has_webhook:
        values["webhook.state"] = WebhookState.DUE
        clock["webhook.next_attempt_at"] = True
    return {"$set": values, "$currentDate": clock}
