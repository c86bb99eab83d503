"""Who may come in: every call passes here before a byte of its body is read.

What is not open to everybody needs a key (`Authorization: Bearer`, `X-API-Key`), the cookie of somebody who signed in,
or a signed link. A route that is forgotten in this file is closed, not open. What a caller may see is decided behind
it, in `api/deps.py`, by the client that this layer puts into the scope.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from imagepress.keys import Keys
from imagepress.links import Links
from services.ingest.problems import ProblemError, answer
from services.ingest.rate import Rate, of_address
from services.ingest.sessions import COOKIE, Sessions

CALLER: Final = "imagepress.caller"

OPEN: Final = frozenset(
    {
        *("/livez", "/readyz", "/metrics"),
        *("/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"),
        *("/", "/api/webhook-test", "/api/sign-in", "/api/sign-out"),
    }
)
"""Paths that need no key: health, documentation, the page's shell, the test receiver, and where keys are shown."""

OPEN_FOLDER: Final = "/web/"
"""The files that the page is made of."""

LIMITED: Final = frozenset({"/api/upload", "/api/sign-in"})
"""Paths whose POSTs are counted: uploads cost the most, and whoever guesses keys must be slow."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="imagepress"'}


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a call comes from. `client`: the only one whose requests it may see; None sees all."""

    client: str | None = None
    link_seconds: float | None = None
    """For how long the signed link is good that it came with."""


def is_open(path: str) -> bool:
    """Tell whether a path needs no key."""
    return path in OPEN or path.startswith(OPEN_FOLDER)


class Gate:
    """Lets callers in, or answers 401, 403 or 429."""

    def __init__(
        self, app: ASGIApp, *, keys: Keys, sessions: Sessions, links: Links, uploads_per_minute: float
    ) -> None:
        """Without keys everybody comes in, and is only counted."""
        self._app = app
        self._keys = keys
        self._sessions = sessions
        self._links = links
        self._own = urlsplit(links.base_url).netloc
        self._rate = Rate(uploads_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a call that may come in."""
        if scope["type"] == "http":
            call = HTTPConnection(scope)
            try:
                scope[CALLER] = caller = self._caller(call)
                self._count(call, caller)
            except ProblemError as error:
                await answer(error.status, error.detail, headers=error.headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _caller(self, call: HTTPConnection) -> Caller:
        """Return whom a call comes from. Raises `ProblemError` 401 or 403."""
        if not self._keys or is_open(call.scope["path"]):
            return Caller()
        if (key := _key_of(call)) is not None:
            if found := self._keys.find(key):
                return Caller(found[0])
            raise ProblemError(401, "this key is not known", headers=_CHALLENGE)
        left = self._seconds_left(call)
        if left is not None and left > 0:
            return Caller(link_seconds=left)
        if client := self._sessions.client_of(call.cookies.get(COOKIE, "")):
            self._check_origin(call)
            return Caller(client)
        if "signature" in call.query_params:
            raise ProblemError(403, "the link has expired" if left is not None else "the link was altered")
        raise ProblemError(401, "a key is needed: Authorization: Bearer, or X-API-Key", headers=_CHALLENGE)

    def _seconds_left(self, call: HTTPConnection) -> float | None:
        if call.scope["method"] not in _SAFE:
            return None
        query = call.query_params
        return self._links.seconds_left(call.scope["path"], query.get("expires", ""), query.get("signature", ""))

    def _check_origin(self, call: HTTPConnection) -> None:
        """Raise 403 for a change that another site asks a browser for (`SameSite` lets other ports and subdomains)."""
        origin = urlsplit(call.headers.get("Origin", "")).netloc
        if call.scope["method"] not in _SAFE and origin not in (self._own, call.headers.get("Host")):
            raise ProblemError(403, "with the cookie alone, changes are accepted from this service's own page only")

    def _count(self, call: HTTPConnection, caller: Caller) -> None:
        """Raise 429 for a caller that comes too often."""
        if call.scope["method"] != "POST" or call.scope["path"] not in LIMITED:
            return
        who = f"client {caller.client}" if caller.client else of_address(call.client.host if call.client else "")
        if wait := self._rate.seconds_to_wait(f"{call.scope['path']} {who}"):
            seconds = math.ceil(wait)
            detail = f"too many calls in a short time; the next one is accepted in {seconds:,} s"
            raise ProblemError(429, detail, headers={"Retry-After": str(seconds)})


def _key_of(call: HTTPConnection) -> str | None:
    """Return the key that a call shows, None where it shows none; both headers at once must agree by being one."""
    scheme, _, token = call.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return call.headers.get("X-API-Key")
