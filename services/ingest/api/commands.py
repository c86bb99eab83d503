"""`POST /api/requests/{id}/cancel`, `…/retry`, `DELETE /api/requests/{id}`."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from starlette.responses import Response

from services.ingest import commands, queries
from services.ingest.api.deps import Service
from services.ingest.api.examples import REQUEST_ID
from services.ingest.problems import ProblemError, documented

router = APIRouter(tags=["requests"])

RequestId = Annotated[UUID, Path(description="What the upload answered")]


class Stopped(BaseModel):
    """A request that was stopped."""

    request_id: str = Field(examples=[REQUEST_ID])
    status: str = Field(examples=["cancelled"])


class Retried(BaseModel):
    """A request whose failed images are tried again."""

    request_id: str = Field(examples=[REQUEST_ID])
    status: str = Field(examples=["pending"])
    images: int = Field(description="Images that are tried again", examples=[3])


async def _existing(service: Service, request_id: UUID) -> dict[str, Any]:
    request = await queries.find_request(service.database, str(request_id))
    if request is None:
        raise ProblemError(404, f"there is no request {request_id}")
    return request


@router.post(
    "/api/requests/{request_id}/cancel",
    operation_id="cancel",
    summary="Stop a request",
    responses=documented(404, 409, 422, 503),
)
async def cancel(service: Service, request_id: RequestId) -> Stopped:
    """End the request as cancelled: images that are done stay, the others are not fetched any more."""
    await commands.cancel(service.database, await _existing(service, request_id))
    return Stopped(request_id=str(request_id), status="cancelled")


@router.post(
    "/api/requests/{request_id}/retry",
    operation_id="retry",
    summary="Run again only what failed",
    responses=documented(404, 409, 422, 503),
)
async def retry(service: Service, request_id: RequestId) -> Retried:
    """Open the next run of an ended request for the images without success; it ends with a webhook of its own."""
    request = await _existing(service, request_id)
    images = await commands.retry(service.database, request, turn_seconds=service.settings.turn_seconds)
    return Retried(request_id=str(request_id), status="pending", images=images)


@router.delete(
    "/api/requests/{request_id}",
    operation_id="remove",
    summary="Forget a request and its images",
    status_code=204,
    responses=documented(404, 422, 503),
)
async def remove(service: Service, request_id: RequestId) -> Response:
    """Delete the request, its rows, its images and the log of its webhook; one that still runs is stopped first."""
    await commands.remove(service.database, service.blobs, await _existing(service, request_id))
    return Response(status_code=204)
