"""What the routes are given: the service's parts, made once by the composition root."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Path, Request

from imagepress.blobs import Blobs
from imagepress.links import Links
from imagepress.mongo import Database
from services.ingest import progress, queries
from services.ingest.gate import CALLER, Caller
from services.ingest.live import Live
from services.ingest.problems import ProblemError
from services.ingest.sessions import Sessions
from services.ingest.settings import IngestSettings
from services.ingest.zipping import Zipper


@dataclass(frozen=True)
class Parts:
    """The parts of a running ingest service."""

    settings: IngestSettings
    database: Database
    blobs: Blobs
    reading: asyncio.Semaphore
    """How many uploads are read at once: each holds a thread and a few megabytes."""
    live: Live
    zipper: Zipper
    links: Links
    sessions: Sessions


def parts(request: Request) -> Parts:
    """Return the parts of the service that this request is answered by."""
    found: Parts = request.app.state.parts
    return found


Service = Annotated[Parts, Depends(parts)]


def caller(request: Request) -> Caller:
    """Return whom this call comes from, as the gate has found."""
    found: Caller = request.scope[CALLER]
    return found


Asking = Annotated[Caller, Depends(caller)]


async def found_request(
    service: Service, asking: Asking, request_id: Annotated[UUID, Path(description="What the upload answered")]
) -> dict[str, Any]:
    """Return the request document that a path names. Raises 404 where its caller may see none."""
    return await lookup(service, asking, request_id)


async def lookup(service: Parts, asking: Caller, request_id: UUID) -> dict[str, Any]:
    """Return a request document: the one place that decides which requests a caller may see. Raises 404."""
    request = await queries.find_request(service.database, str(request_id), client=asking.client)
    if request is None:
        raise ProblemError(404, f"there is no request {request_id}")
    return request


Found = Annotated[dict[str, Any], Depends(found_request)]


async def counted_request(service: Service, request: Found) -> dict[str, Any]:
    """Return the request that a path names with the counts of this moment."""
    [counted] = await progress.counted(service.database, [request])
    return counted


Counted = Annotated[dict[str, Any], Depends(counted_request)]
