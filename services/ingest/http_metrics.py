"""Counts and times every answer by its operation, up to the first byte: what follows may be a large file, or live."""

from __future__ import annotations

import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagepress import metrics


class HttpMetrics:
    """An ASGI layer; the operation is the route's id, so that a series stands for an operation and not for a URL."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, and look at the start of the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                _note(scope, str(message["status"]), time.perf_counter() - began)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:
            _note(scope, "500", time.perf_counter() - began)  # the layer before this one answers so
            raise


def _note(scope: Scope, status: str, seconds: float) -> None:
    route: Any = scope.get("route")
    operation = getattr(route, "operation_id", None) or "none"
    metrics.http_answers.labels(operation, status).inc()
    metrics.http_seconds.labels(operation).observe(seconds)
