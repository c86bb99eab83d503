"""What the routes are given: the service's parts, made once by the composition root."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from imagepress.blobs import Blobs
from imagepress.mongo import Database
from services.ingest.settings import IngestSettings


@dataclass(frozen=True)
class Parts:
    """The parts of a running ingest service."""

    settings: IngestSettings
    database: Database
    blobs: Blobs
    reading: asyncio.Semaphore
    """How many uploads are read at once: each holds a thread and a few megabytes."""


def parts(request: Request) -> Parts:
    """Return the parts of the service that this request is answered by."""
    found: Parts = request.app.state.parts
    return found


Service = Annotated[Parts, Depends(parts)]
