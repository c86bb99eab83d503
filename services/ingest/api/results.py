"""`GET /api/requests/{id}/result.csv` and `…/images.zip`: what came of a request, to be kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from services.ingest import queries, result_csv, views
from services.ingest.api.deps import Counted, Found, Service
from services.ingest.problems import documented

router = APIRouter(tags=["requests"])

_CSV: Final = {"text/csv": {"schema": {"type": "string"}}}
_ZIP: Final = {"application/zip": {"schema": {"type": "string", "format": "binary"}}}


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
    return await _attachment(result_csv.text(rows, service.links), f"imagepress-{request['_id']}.csv", "text/csv")


@router.get(
    "/api/requests/{request_id}/images.zip",
    operation_id="images_zip",
    summary="All images of a request in one ZIP file",
    response_class=Response,
    responses={200: {"description": "The ZIP file", "content": _ZIP}, **documented(404, 422, 503)},
)
async def images(service: Service, request: Counted) -> StreamingResponse:
    """Return the images that are done by now, named by row, product and place; none is in it that failed.

    A file that breaks off was not whole: a ZIP file without its end is refused by every program.
    """
    rows = views.whole_rows(queries.batches_of(service.database, request["_id"]))
    pieces = service.zipper.pack(rows, request["images"]["succeeded"])
    return await _attachment(pieces, f"imagepress-{request['_id']}.zip", "application/zip")


async def _attachment(pieces: AsyncIterator[bytes], name: str, media_type: str) -> StreamingResponse:
    # The first piece is waited for here, so that a database or a store that is away is still answered with 503.
    first = await anext(pieces)
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(_chained(first, pieces), media_type=media_type, headers=headers)


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
