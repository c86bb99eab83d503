"""Facts from the database and from the disk, at the end."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from imagepress.mongo import Database
from tests.chaos.facts import BatchFact, ImageFact, RequestFact
from tests.support.identity import NoIdentity, number_of

Document = dict[str, Any]


async def requests_of(database: Database) -> tuple[list[RequestFact], list[str]]:
    """Return every request with its batches, and the ids of batches that belong to none."""
    batches: dict[str, list[BatchFact]] = defaultdict(list)
    async for batch in database.batches.find().sort("_id", 1):
        batches[batch["request_id"]].append(_batch(batch))
    requests = [_request(request, batches.pop(request["_id"], [])) async for request in database.requests.find()]
    return requests, [batch.id for left in batches.values() for batch in left]


def _request(request: Document, batches: list[BatchFact]) -> RequestFact:
    webhook: Document | None = request.get("webhook")
    return RequestFact(
        id=request["_id"],
        upload=request["source"]["filename"],
        run=request["run"],
        status=request["status"],
        total=request["images"]["total"],
        succeeded=request["images"]["succeeded"],
        failed=request["images"]["failed"],
        batches=batches,
        ended_at=request.get("ended_at"),
        webhook=webhook["state"] if webhook else None,
        leased=bool(webhook and webhook.get("lease")),
    )


def _batch(batch: Document) -> BatchFact:
    images = [
        ImageFact(
            place=(row["row"], image["n"]),
            status=image.get("status"),
            blob=image.get("blob"),
            code=image.get("error", {}).get("code"),
        )
        for row in batch["rows"]
        for image in row["images"]
    ]
    return BatchFact(
        id=batch["_id"],
        status=batch["status"],
        images=images,
        succeeded=batch["succeeded"],
        failed=batch["failed"],
        leased="lease" in batch,
    )


def files_under(folder: Path) -> dict[str, int | None]:
    """Return the number that each stored picture shows, by path; None for what is no picture of ours."""
    return {
        file.relative_to(folder).as_posix(): _number(file.read_bytes()) for file in folder.rglob("*") if file.is_file()
    }


def _number(data: bytes) -> int | None:
    try:
        return number_of(data)
    except NoIdentity:
        return None
