"""Composition of a worker process. Its supervisor rings through standard input, whose end means: stop."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from imagepress import logs
from imagepress.blobs import Blobs
from imagepress.lifecycle import Stop
from imagepress.mongo import connected
from imagepress.outbound import agent_name
from imagepress.retry import Trouble
from services.watcher.budget import Budget
from services.watcher.codec import Codec
from services.watcher.compress import tune_allocator, turbo
from services.watcher.fetch import FetchLimits, open_fetcher
from services.watcher.image import Tools
from services.watcher.loop import Worker
from services.watcher.quarantine import Isolation
from services.watcher.room import Room
from services.watcher.settings import WatcherSettings

log = logs.get(__name__)

SWEEP: Final = b"s"
WAKE: Final = b"w"
"""What the supervisor writes, a byte a ring: look again from the beginning, or look again."""

READY: Final = b"r"
"""What the worker answers, once, when it begins to claim."""


@asynccontextmanager
async def tools(settings: WatcherSettings) -> AsyncIterator[Tools]:
    """Open what working on images takes; closed at the end."""
    tune_allocator(max_pixels=settings.max_pixels)
    if not turbo.available():
        log.warning("libturbojpeg is not installed (Debian: libturbojpeg0); photographs take about twice as long")
    limits = FetchLimits(
        max_image_bytes=settings.max_image_bytes,
        connect_seconds=settings.fetch_connect_seconds,
        total_seconds=settings.fetch_seconds,
        tries=settings.fetch_tries,
        per_host=settings.fetch_per_host,
        at_once=settings.fetch_concurrency,
        connections=max(FetchLimits.connections, settings.fetch_concurrency),
    )
    codec = Codec(settings.codec_threads, settings.codec_seconds)
    try:
        async with open_fetcher(settings.address_policy, limits, agent_name(settings.user_agent_contact)) as fetcher:
            yield Tools(
                fetcher=fetcher,
                blobs=Blobs(settings.storage_url),
                codec=codec,
                bytes_in_flight=Budget(settings.bytes_in_flight),
                pixels_in_flight=Room(settings.max_pixels),
                max_pixels=settings.max_pixels,
                storing=Trouble(log, "storing images"),
            )
    finally:
        codec.close()


async def work(settings: WatcherSettings, stop: Stop) -> None:
    """Be a worker until the stop, or until the supervisor is gone."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=sys.stdin.fileno()))
    bell = Bell()
    spare_the_collector()
    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(listen(reader, bell, stop), name="bell")
        async with connected(settings, stop) as database, tools(settings) as opened:
            name = f"{socket.gethostname()}:{os.getpid()}"
            isolation = Isolation(database, settings)
            worker = Worker(database, settings, opened, isolation.run, name=name, stop=stop)
            bell.rings = lambda sweep: worker.wake(sweep=sweep)
            writer.write(READY)
            await worker.run()
        listening.cancel()


def spare_the_collector() -> None:
    """Let garbage collection look at what images leave behind, and less often: it took a 25th of a small image's time.

    What there is at the start stays, and what an image leaves goes by reference counts, but for few cycles.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@dataclass
class Bell:
    """Where the supervisor's rings go: nowhere, until the worker is there, which begins by looking anyway."""

    rings: Callable[[bool], None] = lambda _sweep: None


async def listen(reader: asyncio.StreamReader, bell: Bell, stop: Stop) -> None:
    """Pass the supervisor's rings on until it closes the bell, or is gone; several that have piled up are one."""
    with suppress(ConnectionError):  # it was killed before it had read that we are ready
        while rings := await reader.read(4096):
            bell.rings(SWEEP in rings)
    stop.set()  # the supervisor died or wants this process to end: either way nobody would ring again
