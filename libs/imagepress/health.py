"""`/livez`, `/readyz` and `/metrics` for services without an HTTP interface of their own.

Alive: the event loop turns. Ready: nothing that the service stands on is known to be broken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from imagepress.errors import StartupError

Check = Callable[[], str | None]
"""Returns what is wrong, or None."""


@asynccontextmanager
async def served(
    *, host: str, port: int, checks: dict[str, Check], metrics: Callable[[], tuple[bytes, str]]
) -> AsyncIterator[None]:
    """Serve health and metrics while the context lasts; raise `StartupError` where the port is taken."""

    async def livez(_request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(_request: web.Request) -> web.Response:
        problems = {name: problem for name, check in checks.items() if (problem := check())}
        return web.json_response(
            {"status": "not ready" if problems else "ready", "problems": problems}, status=503 if problems else 200
        )

    async def exposition(_request: web.Request) -> web.Response:
        body, content_type = metrics()
        return web.Response(body=body, headers={"Content-Type": content_type})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", exposition)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise StartupError(f"the port {port} for health and metrics is taken or not allowed: {error}") from error
    try:
        yield
    finally:
        await runner.cleanup()
