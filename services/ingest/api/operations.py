"""`/livez`, `/readyz`, `/metrics`: for orchestrators and scrapers."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from imagepress import metrics
from imagepress.errors import TransientError
from imagepress.mongo import server_time
from services.ingest.api.deps import Service

router = APIRouter(tags=["operations"])


@router.get("/livez", operation_id="livez", summary="Alive: the event loop turns")
async def livez() -> dict[str, str]:
    """Answer while the process can answer at all; says nothing of MongoDB, or a restart would be asked for in vain."""
    return {"status": "alive"}


@router.get(
    "/readyz",
    operation_id="readyz",
    summary="Ready: uploads can be accepted",
    responses={503: {"description": "MongoDB has no primary that answers"}},
)
async def readyz(service: Service) -> JSONResponse:
    """Answer 200 while MongoDB answers, 503 otherwise."""
    try:
        await server_time(service.database)
    except TransientError as error:
        return JSONResponse({"status": "not ready", "problems": {"mongodb": str(error)}}, status_code=503)
    return JSONResponse({"status": "ready", "problems": {}})


@router.get("/metrics", operation_id="metrics", summary="Prometheus metrics", response_class=Response)
async def exposition() -> Response:
    """Return the metrics in Prometheus text format."""
    body, content_type = metrics.exposition()
    return Response(body, headers={"Content-Type": content_type})
