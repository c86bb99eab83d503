"""What the routes are given: the service's parts, made once by the composition root."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Path, Request

from imagepress.blobs import Blobs
from imagepress.mongo import Database
from services.ingest import queries
from services.ingest.live import Live
from services.ingest.problems import ProblemError
from services.ingest.settings import IngestSettings


@dataclass(frozen=True)
class Parts:
    """The parts of a running ingest service."""

    settings: IngestSettings
    database: Database
    blobs: Blobs
    reading: asyncio.Semaphore
    """How many uploads are read at once: each holds a thread and a few megabytes."""
    live: Live


def parts(request: Request) -> Parts:
    """Return the parts of the service that this request is answered by."""
    found: Parts = request.app.state.parts
    return found


Service = Annotated[Parts, Depends(parts)]


async def found_request(
    service: Service, request_id: Annotated[UUID, Path(description="What the upload answered")]
) -> dict[str, Any]:
    """Return the request document that a path names. Raises 404 where its caller may see none."""
    return await lookup(service, request_id)


async def lookup(service: Parts, request_id: UUID) -> dict[str, Any]:
    """Return a request document: the one place that decides which requests a caller may see. Raises 404."""
    request = await queries.find_request(service.database, str(request_id))
    if request is None:
        raise ProblemError(404, f"there is no request {request_id}")
    return request


Found = Annotated[dict[str, Any], Depends(found_request)]
