"""A cap on every request body, counted while it streams in, and a deadline for the whole of it.

An ASGI layer, because the framework's own limits do not count files.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.ingest import problems

UPLOAD_PATH: Final = "/api/upload"

# Boundaries, part headers and the other form fields of an upload, beside the file itself.
FORM_BYTES: Final = 64 * 1024

# Every other body is a small JSON document.
OTHER_BYTES: Final = 1_000_000

# A client that is still sending when the connection is closed sees a reset instead of the answer. So as much again is
# read and thrown away first, but not for long.
DISCARD_SECONDS: Final = 5.0


class BodyLimit:
    """Refuses bodies that are too large (413) or too slow (408)."""

    def __init__(self, app: ASGIApp, *, max_upload_bytes: int, seconds: float) -> None:
        """Limit uploads to `max_upload_bytes`, other bodies to 1 MB, and each to `seconds`."""
        self._app = app
        self._max_upload_bytes = max_upload_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, counting its body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_upload = scope["path"] == UPLOAD_PATH
        limit = self._max_upload_bytes + FORM_BYTES if is_upload else OTHER_BYTES
        shown = self._max_upload_bytes if is_upload else OTHER_BYTES
        too_large = f"the body is larger than {shown:,} bytes; split the file into several uploads"
        if _announced(scope) > limit:
            await _discard(receive, limit)
            await problems.answer(413, too_large, headers={"Connection": "close"})(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + self._seconds
        received = 0

        async def counted() -> Message:
            nonlocal received
            if received < 0:  # the body is complete: what comes now is only the disconnect, whenever that is
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                detail = f"the body did not arrive within {self._seconds:g} s"
                raise HTTPException(408, detail, headers={"Connection": "close"}) from None
            received += len(message.get("body", b""))
            if received > limit:
                await _discard(receive, limit)
                raise HTTPException(413, too_large, headers={"Connection": "close"})
            if not message.get("more_body", False):
                received = -1
            return message

        await self._app(scope, counted, send)


async def _discard(receive: Receive, at_most: int) -> None:
    """Read what a refused client still sends, up to `at_most` bytes."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            while at_most > 0:
                message = await receive()
                at_most -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])
    return 0
