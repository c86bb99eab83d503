"""`POST /api/requests/{id}/cancel`, `…/retry`, `DELETE /api/requests/{id}`."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from services.ingest import commands
from services.ingest.api.deps import Found, Service
from services.ingest.api.examples import REQUEST_ID
from services.ingest.problems import documented

router = APIRouter(tags=["requests"])


class Stopped(BaseModel):
    """A request that was stopped."""

    request_id: str = Field(examples=[REQUEST_ID])
    status: str = Field(examples=["cancelled"])


class Retried(BaseModel):
    """A request whose failed images are tried again."""

    request_id: str = Field(examples=[REQUEST_ID])
    status: str = Field(examples=["pending"])
    images: int = Field(description="Images that are tried again", examples=[3])


@router.post(
    "/api/requests/{request_id}/cancel",
    operation_id="cancel",
    summary="Stop a request",
    responses=documented(404, 409, 422, 503),
)
async def cancel(service: Service, request: Found) -> Stopped:
    """End the request as cancelled: images that are done stay, the others are not fetched any more.

    Workers in the middle of it have up to two seconds to write down what they have done, so the answer takes as long.
    """
    await commands.cancel(service.database, request)
    return Stopped(request_id=request["_id"], status="cancelled")


@router.post(
    "/api/requests/{request_id}/retry",
    operation_id="retry",
    summary="Run again only what failed",
    responses=documented(404, 409, 422, 503),
)
async def retry(service: Service, request: Found) -> Retried:
    """Open the next run of an ended request for the images without success; it ends with a webhook of its own."""
    images = await commands.retry(service.database, request, turn_seconds=service.settings.turn_seconds)
    return Retried(request_id=request["_id"], status="pending", images=images)


@router.delete(
    "/api/requests/{request_id}",
    operation_id="remove",
    summary="Forget a request and its images",
    status_code=204,
    responses=documented(404, 422, 503),
)
async def remove(service: Service, request: Found) -> Response:
    """Delete the request, its rows, its images and the log of its webhook; one that still runs is stopped first."""
    await commands.remove(service.database, service.blobs, request)
    return Response(status_code=204)
