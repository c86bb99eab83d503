"""`GET /api/status`: how far a request is, row by row."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from imagepress.links import Links
from services.ingest import progress, queries, views
from services.ingest.api.deps import Asking, Service, lookup
from services.ingest.api.examples import STATUS
from services.ingest.api.models import Status
from services.ingest.problems import documented

router = APIRouter(tags=["requests"])


@router.get(
    "/api/status",
    operation_id="status",
    summary="Status of a request, with every row",
    responses={
        200: {"model": Status, "content": {"application/json": {"example": STATUS}}},
        **documented(404, 422, 503),
    },
)
async def status(
    service: Service,
    asking: Asking,
    request_id: Annotated[UUID, Query(description="What the upload answered")],
    offset: Annotated[int, Query(ge=0, le=10_000_000, description="First row, from 0")] = 0,
    limit: Annotated[int | None, Query(ge=1, le=1_000_000, description="Number of rows; all without it")] = None,
) -> StreamingResponse:
    """Return the request and its rows in the order of the CSV, streamed: a large request never fills memory."""
    [request] = await progress.counted(service.database, [await lookup(service, asking, request_id)])
    last = None if limit is None else offset + limit - 1
    batches = queries.batches_of(service.database, str(request_id), first_row=offset, last_row=last)
    rows = _between(views.whole_rows(batches), offset, last)
    # The first row is waited for here, so that a database that is away is still answered with 503.
    first = await anext(rows, None)
    body = _document(views.summary(request, service.links), first, rows, service.links)
    return StreamingResponse(body, media_type="application/json", headers={"Cache-Control": "no-store"})


async def _between(rows: AsyncIterator[dict[str, Any]], first: int, last: int | None) -> AsyncIterator[dict[str, Any]]:
    async for row in rows:
        if row["row"] >= first and (last is None or row["row"] <= last):
            yield row


async def _document(
    summary: dict[str, Any], first: dict[str, Any] | None, rows: AsyncIterator[dict[str, Any]], links: Links
) -> AsyncIterator[bytes]:
    """Yield the JSON text: the summary, and `details` written row by row."""
    yield (_json(summary)[:-1] + ', "details": [').encode()
    if first is not None:
        yield _json(views.row_view(first, links)).encode()
    buffer: list[str] = []
    async for row in rows:
        buffer.append(_json(views.row_view(row, links)))
        if len(buffer) == 100:  # a write to the socket for each row would cost more than the row
            yield (", " + ", ".join(buffer)).encode()
            buffer.clear()
    yield ("".join(f", {row}" for row in buffer) + "]}").encode()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
