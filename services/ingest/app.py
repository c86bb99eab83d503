"""Composition root of the ingest service; `uvicorn services.ingest.app:app` serves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from imagepress import __version__, logs, tracing
from imagepress.blobs import Blobs
from imagepress.errors import StartupError
from imagepress.lifecycle import Stop
from imagepress.links import Links
from imagepress.mongo import connected
from imagepress.settings import load
from services.ingest import problems
from services.ingest.api import (
    attempts,
    commands,
    events,
    images,
    listing,
    openapi,
    operations,
    pages,
    requests,
    results,
    sign_in,
    uploads,
    webhooks,
)
from services.ingest.api.deps import Parts
from services.ingest.body_limit import BodyLimit
from services.ingest.gate import Gate
from services.ingest.headers import SecurityHeaders
from services.ingest.http_metrics import HttpMetrics
from services.ingest.live import Live
from services.ingest.sessions import Sessions
from services.ingest.settings import IngestSettings
from services.ingest.zipping import Zipper

log = logs.get(__name__)

_MODULES: Final = (
    *(uploads, requests, listing, events, results, commands, images, attempts, webhooks),
    *(sign_in, operations, pages),
)
"""In the order in which `/docs` shows them."""

DESCRIPTION: Final = """
Upload a CSV of products and image URLs. Every image is downloaded, compressed to JPEG quality 50 and stored, in the
background; follow the status, or be called by webhook when all is done.

Errors are `application/problem+json` (RFC 9457), with `errors` where there are several.
"""


def create_app(settings: IngestSettings, stop: Stop | None = None) -> FastAPI:
    """Return the application; nothing is opened before its lifespan begins, which waits for MongoDB until `stop`."""
    links = settings.links
    sessions = Sessions(settings.api_keys, settings.sign_in_seconds)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if not settings.api_keys:
            log.warning("open to everybody: no API_KEYS are set")
        if settings.api_keys.weak:
            log.warning("API keys of less than 16 characters can be guessed", clients=settings.api_keys.weak)
        ending = stop or Stop()
        tracing.configure(service="ingest", enabled=settings.tracing)
        try:
            async with connected(settings, stop) as database, asyncio.TaskGroup() as tasks:
                live = Live(database, settings, links, ending)
                blobs, reading = Blobs(settings.storage_url), asyncio.Semaphore(settings.concurrent_uploads)
                app.state.parts = Parts(settings, database, blobs, reading, live, Zipper(blobs), links, sessions)
                tasks.create_task(live.run(), name="live progress")
                yield
                ending.set()
        finally:
            tracing.close()  # after everybody has been answered; whoever serves the app

    app = FastAPI(title="imagepress", version=__version__, description=DESCRIPTION, lifespan=lifespan)
    _protect(app, settings, links, sessions)
    problems.install(app)
    for module in _MODULES:
        app.include_router(module.router)
    openapi.install(app)
    return app


def _protect(app: FastAPI, settings: IngestSettings, links: Links, sessions: Sessions) -> None:
    """Put the layers around `app` that every call passes; the last one added is the outermost."""
    app.add_middleware(BodyLimit, max_upload_bytes=settings.max_upload_bytes, seconds=settings.upload_seconds)
    app.add_middleware(
        Gate,
        keys=settings.api_keys,
        sessions=sessions,
        links=links,
        uploads_per_minute=settings.uploads_per_minute,
    )
    if settings.cors_origins:
        # Around the gate: browsers ask without a key whether they may send one. Cookies never come from elsewhere.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "X-API-Key", "Idempotency-Key", "Last-Event-ID", "Range"],
            expose_headers=["Location", "Retry-After", "Content-Range"],
        )
    app.add_middleware(SecurityHeaders, https=settings.links.base_url.startswith("https://"))
    app.add_middleware(HttpMetrics)  # it counts what the others refuse, too


def __getattr__(name: str) -> Any:
    """Make `app` when it is asked for (by uvicorn), so that importing this module reads no settings."""
    if name != "app":
        raise AttributeError(name)
    try:
        settings = load(IngestSettings)
        logs.configure(service="ingest", level=settings.log_level, log_format=settings.log_format)
        return create_app(settings)
    except StartupError as error:
        raise SystemExit(f"cannot start: {error}") from None
