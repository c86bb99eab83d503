"""One place for a worker process: started, rung, replaced when it dies, ended in order.

Its standard input is one end of a pair of sockets. We ring through it, a byte a ring, and the worker says once that it
is ready; that we close it, or die, tells the worker to stop.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress
from typing import Final

from imagepress import logs, metrics
from imagepress.lifecycle import Stop
from imagepress.retry import Backoff
from services.watcher.settings import WatcherSettings
from services.watcher.worker import READY

log = logs.get(__name__)

CRASH_LOOP: Final = 3
"""Deaths of one worker in a row, each soon after its start, that make the container not ready."""

HEALTHY_AFTER_SECONDS: Final = 30.0
"""A worker that lived this long was not in a crash loop."""


class WorkerProcess:
    """A dead worker is replaced, ever more slowly."""

    def __init__(self, number: int, settings: WatcherSettings, stop: Stop) -> None:
        """Nothing is started before `run`."""
        self._number = number
        self._settings = settings
        self._stop = stop
        self._process: asyncio.subprocess.Process | None = None
        self._bell: asyncio.StreamWriter | None = None
        self._began = 0.0
        self.deaths = 0
        """Deaths in a row."""
        self.was_ready = False
        """Whether a worker in this place has ever begun to claim."""

    def ring(self, kind: bytes) -> None:
        """Wake the worker. One that does not read will look again by itself."""
        bell = self._bell
        if bell is not None and not bell.is_closing() and bell.transport.get_write_buffer_size() < 1024:
            bell.write(kind)

    @property
    def is_looping(self) -> bool:
        """Whether it dies again and again, and the present process has not lived long enough to disprove it."""
        alive = self._process is not None and self._process.returncode is None
        lived = asyncio.get_running_loop().time() - self._began
        return self.deaths >= CRASH_LOOP and not (alive and lived > HEALTHY_AFTER_SECONDS)

    async def run(self) -> None:
        """Keep a worker running until the stop; then let it finish what it holds."""
        backoff = Backoff(first=0.5, longest=30.0)
        clock = asyncio.get_running_loop().time
        while not self._stop.is_set:
            self._began = clock()
            status = await self._live()
            if self._stop.is_set:
                return
            if clock() - self._began > HEALTHY_AFTER_SECONDS:
                self.deaths = 0
                backoff.reset()
            self.deaths += 1
            metrics.worker_deaths.inc()
            log.error("a worker died and is replaced", number=self._number, exit_status=status)
            await self._stop.wait(backoff.delay())

    async def _live(self) -> int | None:
        """See one process from its start to its end, by itself or by the stop; return its exit status."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.watcher", "--worker", stdin=theirs.fileno()
            )
        reader, self._bell = await asyncio.open_connection(sock=ours)
        listening = asyncio.create_task(self._listen(reader), name="worker's answer")
        exited = asyncio.ensure_future(process.wait())
        try:
            await self._stop.race(asyncio.wait({exited}))
            if self._stop.is_set:
                await self._end(process)
        finally:
            listening.cancel()
            self._bell.close()
            if process.returncode is None:  # it takes too long, or a second signal came: at once
                process.kill()
                await process.wait()
        return process.returncode

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):  # it died without a word, which its exit status tells
            self.was_ready = await reader.read(1) == READY or self.was_ready

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Close the worker's standard input, which asks it to stop, and wait while there is time."""
        if self._bell is not None:
            self._bell.close()
        try:
            await asyncio.wait_for(process.wait(), 0.9 * self._settings.drain_seconds)  # it finishes before
        except TimeoutError:
            log.error("a worker did not stop in time and is killed", number=self._number)
