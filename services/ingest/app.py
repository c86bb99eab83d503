"""Composition root of the ingest service; `uvicorn services.ingest.app:app` serves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI

from imagepress import logs
from imagepress.blobs import Blobs
from imagepress.errors import StartupError
from imagepress.lifecycle import Stop
from imagepress.mongo import connected
from imagepress.settings import load
from services.ingest import problems
from services.ingest.api import commands, images, listing, operations, requests, results, uploads, webhooks
from services.ingest.api.deps import Parts
from services.ingest.body_limit import BodyLimit
from services.ingest.http_metrics import HttpMetrics
from services.ingest.settings import IngestSettings

VERSION: Final = "0.1.0"

DESCRIPTION: Final = """
Upload a CSV of products and image URLs. Every image is downloaded, compressed to JPEG quality 50 and stored, in the
background; follow the status, or be called by webhook when all is done.

Errors are `application/problem+json` (RFC 9457), with `errors` where there are several.
"""


def create_app(settings: IngestSettings, stop: Stop | None = None) -> FastAPI:
    """Return the application; nothing is opened before its lifespan begins, which waits for MongoDB until `stop`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        logs.configure(service="ingest", level=settings.log_level, log_format=settings.log_format)
        async with connected(settings, stop) as database:
            app.state.parts = Parts(
                settings, database, Blobs(settings.storage_url), asyncio.Semaphore(settings.concurrent_uploads)
            )
            yield

    app = FastAPI(title="imagepress", version=VERSION, description=DESCRIPTION, lifespan=lifespan)
    app.add_middleware(BodyLimit, max_upload_bytes=settings.max_upload_bytes, seconds=settings.upload_seconds)
    problems.install(app)
    app.add_middleware(HttpMetrics)  # added last, so the outermost: it sees what the others refuse
    for module in (uploads, requests, listing, results, commands, images, webhooks, operations):
        app.include_router(module.router)
    _document_problems(app)
    return app


def _document_problems(app: FastAPI) -> None:
    """Put the schema of problems where the operations' error responses point to."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schema = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        document["components"]["schemas"] |= {**schema.pop("$defs"), "Problem": schema}
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the documented way to extend the schema


def __getattr__(name: str) -> Any:
    """Make `app` when it is asked for (by uvicorn), so that importing this module reads no settings."""
    if name != "app":
        raise AttributeError(name)
    try:
        return create_app(load(IngestSettings))
    except StartupError as error:
        raise SystemExit(f"cannot start: {error}") from None
