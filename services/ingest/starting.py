"""The time before MongoDB has answered once: the service is alive and says so, and refuses everything else for now."""

from __future__ import annotations

from typing import Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from services.ingest import problems

_WAITING: Final = "the service is starting, and waits for MongoDB; please try again"


class Starting:
    """An ASGI layer around the application, which is called only when it `is_over`."""

    def __init__(self, app: ASGIApp) -> None:
        """Begin before the start is over."""
        self._app = app
        self.is_over = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, or answer it."""
        if self.is_over:
            await self._app(scope, receive, send)
        elif scope["path"] == "/livez":
            await JSONResponse({"status": "alive"})(scope, receive, send)
        else:
            headers = {"Retry-After": str(problems.RETRY_AFTER_SECONDS)}
            await problems.answer(503, _WAITING, headers=headers)(scope, receive, send)
