"""`GET /api/requests`: what was uploaded, newest first."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from imagepress.documents import RequestStatus
from services.ingest import cursors, queries, views
from services.ingest.api.deps import Asking, Service
from services.ingest.api.examples import SUMMARY
from services.ingest.api.models import Page
from services.ingest.problems import ProblemEntry, ProblemError, documented

router = APIRouter(tags=["requests"])

_EXAMPLE = {"requests": [SUMMARY], "next": None}


@router.get(
    "/api/requests",
    operation_id="list_requests",
    summary="All requests, newest first",
    responses={200: {"model": Page, "content": {"application/json": {"example": _EXAMPLE}}}, **documented(422, 503)},
)
async def list_requests(
    service: Service,
    asking: Asking,
    status: Annotated[RequestStatus | None, Query(description="Only requests of this status")] = None,
    cursor: Annotated[str | None, Query(max_length=200, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Requests to a page")] = 50,
) -> JSONResponse:
    """Return a page of requests without their rows, and the cursor of the next page, null on the last one."""
    found = await queries.list_requests(
        service.database, client=asking.client, status=status, before=_position(cursor), limit=limit + 1
    )
    page = found[:limit]
    more = len(found) > limit
    body: dict[str, Any] = {
        "requests": [views.summary(request, service.links) for request in page],
        "next": cursors.encoded(page[-1]["created_at"], page[-1]["_id"]) if more else None,
    }
    return JSONResponse(body, headers={"Cache-Control": "no-store"})


def _position(cursor: str | None) -> queries.Position | None:
    try:
        return cursors.decoded(cursor) if cursor else None
    except cursors.BadCursor as error:
        raise ProblemError(422, str(error), [ProblemEntry(line=None, field="cursor", message=str(error))]) from error
