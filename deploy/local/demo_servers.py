"""Two real servers that a shop would have: one with its photographs, one that is called when all is done."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

PHOTOS: Final = Path(__file__).resolve().parents[1] / "samples" / "photos"


@dataclass
class Receiver:
    """What the receiver was sent: the JSON bodies whose signature is right, and how many were not."""

    url: str
    calls: list[dict[str, Any]] = field(default_factory=list)
    forged: int = 0


@asynccontextmanager
async def _serve(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serve_photos() -> AsyncIterator[str]:
    """Serve the sample photographs; yield their address. `/sized/…/NAME` is another way to each of them."""

    async def photo(request: web.Request) -> web.FileResponse:
        return web.FileResponse(PHOTOS / request.match_info["name"])

    app = web.Application()
    names = "|".join(sorted(file.name for file in PHOTOS.iterdir()))
    app.router.add_get(f"/{{name:{names}}}", photo)
    app.router.add_get(f"/sized/{{size}}/{{name:{names}}}", photo)
    async with _serve(app) as address:
        yield address


@asynccontextmanager
async def serve_receiver(secret: str) -> AsyncIterator[Receiver]:
    """Receive webhooks signed with `secret`, and refuse others with 401."""
    receiver = Receiver("")

    async def received(request: web.Request) -> web.Response:
        body = await request.text()
        try:
            Webhook(secret).verify(body, dict(request.headers))
        except WebhookVerificationError:
            receiver.forged += 1
            return web.Response(status=401)
        receiver.calls.append(json.loads(body))
        return web.json_response({"received": True})

    app = web.Application()
    app.router.add_post("/hooks/imagepress", received)
    async with _serve(app) as address:
        receiver.url = f"{address}/hooks/imagepress"
        yield receiver
