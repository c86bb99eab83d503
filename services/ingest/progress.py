"""How far requests are: the counts of those that still run are added up from their batches.

A request's own counts move only when a batch is completed. What is done of an open batch stands in the batch, noted by
its worker about once a second. So all batches of a request are added up, by one look that the index `recount` answers
alone: for 200,000 images that is some 3,000 keys. What is added up this way cannot count a batch twice, as adding
open batches to the request's own counts would when one is completed in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from imagepress.documents import ACTIVE, BatchStatus
from imagepress.driver_errors import translates
from imagepress.mongo import Database
from services.ingest.queries import SHOWN

Document = dict[str, Any]

# A batch that waits may wait for its images to be tried again: what failed in the run before does not count any more.
_FAILED: Final[Document] = {
    "$cond": [{"$in": ["$status", [BatchStatus.STAGED, BatchStatus.PENDING]]}, 0, "$failed"],
}


@translates
async def find_requests(database: Database, request_ids: Sequence[str]) -> list[Document]:
    """Return those of the requests that their clients may still see, with the counts of this moment."""
    rows = database.requests.find({"_id": {"$in": list(request_ids)}, **SHOWN})
    return await counted(database, [row async for row in rows])


@translates
async def counted(database: Database, requests: Sequence[Document]) -> list[Document]:
    """Return the request documents with the counts of this moment; those of an ended one are final as they are."""
    active = [request["_id"] for request in requests if request["status"] in ACTIVE]
    if not active:
        return list(requests)
    pipeline: list[Document] = [
        {"$match": {"request_id": {"$in": active}}},
        {
            "$group": {
                "_id": "$request_id",
                "succeeded": {"$sum": "$succeeded"},
                "failed": {"$sum": _FAILED},
                "input": {"$sum": "$bytes_in"},
                "output": {"$sum": "$bytes_out"},
            }
        },
    ]
    sums = {row["_id"]: row async for row in database.batches.aggregate(pipeline, hint="recount")}
    return [_with(request, sums.get(request["_id"])) for request in requests]


def _with(request: Document, sums: Document | None) -> Document:
    if sums is None:
        return request
    images = {"total": request["images"]["total"], "succeeded": sums["succeeded"], "failed": sums["failed"]}
    return {**request, "images": images, "bytes": {"input": sums["input"], "output": sums["output"]}}
