"""Headers of every answer that tell browsers to be careful with it."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # a signed link must not reach other sites as a referrer
    "X-Frame-Options": "DENY",
}

# An answer of the API is data: shown as a page by accident, it runs, loads and embeds nothing.
_DATA_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"

_DOCUMENTATION: Final = ("/docs", "/redoc")
"""Pages of the framework, which load their scripts from elsewhere."""

_TRANSPORT: Final = "max-age=31536000"  # a year, the least that browsers' preload lists ask for


class SecurityHeaders:
    """Adds the headers, unless a route has set its own."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        """`https`: this service is reached by HTTPS only, and browsers are told so."""
        self._app = app
        self._added = _ALWAYS | ({"Strict-Transport-Security": _TRANSPORT} if https else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        added = dict(self._added)
        if not scope["path"].startswith(_DOCUMENTATION):
            added["Content-Security-Policy"] = _DATA_POLICY

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in added.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)
