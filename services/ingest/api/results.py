"""`GET /api/requests/{id}/result.csv`: the outcome of a request, to be opened in a spreadsheet."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from services.ingest import queries, result_csv, views
from services.ingest.api.deps import Found, Service
from services.ingest.problems import documented

router = APIRouter(tags=["requests"])

_CSV = {"text/csv": {"schema": {"type": "string"}}}


@router.get(
    "/api/requests/{request_id}/result.csv",
    operation_id="result_csv",
    summary="The rows with their output URLs and errors, as CSV",
    response_class=Response,
    responses={200: {"description": "The CSV", "content": _CSV}, **documented(404, 422, 503)},
)
async def result(service: Service, request: Found) -> StreamingResponse:
    """Return the rows as they are by now, plus `Output Image Urls` and `Errors`; no cell is read as a formula."""
    rows = views.whole_rows(queries.batches_of(service.database, request["_id"]))
    pieces = result_csv.text(rows, service.settings.images_url)
    # The first piece is waited for here, so that a database that is away is still answered with 503.
    first = await anext(pieces)
    headers = {
        "Content-Disposition": f'attachment; filename="imagepress-{request["_id"]}.csv"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(_chained(first, pieces), media_type="text/csv; charset=utf-8", headers=headers)


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
