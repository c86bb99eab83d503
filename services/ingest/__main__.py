"""`python -m services.ingest`: the ingest service on INGEST_HOST and INGEST_PORT."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from imagepress import logs
from imagepress.errors import StartupError
from imagepress.lifecycle import Stop, leave, run_service
from imagepress.settings import load
from services.ingest.app import create_app
from services.ingest.settings import IngestSettings
from services.ingest.starting import Starting

log = logs.get(__name__)


class _Server(uvicorn.Server):
    """A server that leaves signals to `lifecycle`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: IngestSettings, stop: Stop) -> None:
    """Serve until the stop; running requests have DRAIN_SECONDS to finish.

    The port is open from the first moment: while MongoDB is away the service is alive, and says that it is not ready.
    """
    app = create_app(settings, stop)
    starting = Starting(app)
    config = uvicorn.Config(
        starting,
        host=settings.ingest_host,
        port=settings.ingest_port,
        lifespan="off",  # opened here, so that a start-up error is told as a sentence
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=max(1, int(settings.finish_seconds)),
        server_header=False,
        forwarded_allow_ips=list(settings.trusted_proxies),
    )
    server = _Server(config)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(_served(server, settings), name="http")
        try:
            async with app.router.lifespan_context(app):
                starting.is_over = True
                await stop.race(asyncio.wait({serving}))
                server.should_exit = True
                await serving
        finally:
            server.should_exit = True


async def _served(server: uvicorn.Server, settings: IngestSettings) -> None:
    try:
        await server.serve()
    except SystemExit as error:  # uvicorn's way of saying that it could not bind
        where = f"{settings.ingest_host}:{settings.ingest_port}"
        raise StartupError(f"cannot listen on {where}: is INGEST_PORT taken by another program?") from error


def main() -> int:
    """Run the service; return the exit status."""
    logs.configure(service="ingest", level="INFO", log_format=None)
    try:
        settings = load(IngestSettings)
    except StartupError as error:
        log.error("cannot start", problem=str(error))
        return 1
    logs.configure(service="ingest", level=settings.log_level, log_format=settings.log_format)
    log.info("serving", url=settings.links.base_url, host=settings.ingest_host, port=settings.ingest_port)
    return run_service(lambda stop: serve(settings, stop), drain_seconds=settings.drain_seconds)


if __name__ == "__main__":
    leave(main())
