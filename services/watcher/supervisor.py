"""The process that an operator starts: it reads the one change stream of the container, rings its worker processes,
sweeps, answers health checks, and replaces workers that die.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from typing import Final

from imagepress import health, logs, metrics
from imagepress.blobs import Blobs
from imagepress.errors import TransientError
from imagepress.lifecycle import Stop
from imagepress.mongo import Database, connected
from imagepress.retry import Backoff, Trouble
from imagepress.wakeups import WakeUp, Wakeups
from services.watcher.settings import WatcherSettings
from services.watcher.sweep import Sweep
from services.watcher.worker import SWEEP, WAKE

log = logs.get(__name__)

CRASH_LOOP: Final = 3
"""Deaths of one worker in a row, each soon after its start, that make the container not ready."""

HEALTHY_AFTER_SECONDS: Final = 30.0
"""A worker that lived this long was not in a crash loop."""


class WorkerProcess:
    """One place for a worker process; a dead one is replaced, ever more slowly."""

    def __init__(self, number: int, settings: WatcherSettings, stop: Stop) -> None:
        """Nothing is started before `run`."""
        self._number = number
        self._settings = settings
        self._stop = stop
        self._process: asyncio.subprocess.Process | None = None
        self.deaths = 0
        """Deaths in a row."""
        self._began = 0.0

    def ring(self, kind: bytes) -> None:
        """Wake the worker. One that does not read will look again by itself."""
        pipe = self._process.stdin if self._process else None
        if pipe is not None and not pipe.is_closing() and pipe.transport.get_write_buffer_size() < 1024:
            pipe.write(kind)

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
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.watcher", "--worker", stdin=asyncio.subprocess.PIPE
            )
            exited = asyncio.ensure_future(self._process.wait())
            try:
                await self._stop.race(asyncio.wait({exited}))
            except asyncio.CancelledError:  # a second signal: at once
                self._process.kill()
                raise
            if self._stop.is_set:
                await self._end(self._process)
                return
            if clock() - self._began > HEALTHY_AFTER_SECONDS:
                self.deaths = 0
                backoff.reset()
            self.deaths += 1
            log.error("a worker died and is replaced", number=self._number, exit_status=exited.result())
            await self._stop.wait(backoff.delay())

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Close the worker's standard input, which asks it to stop; kill it after the drain deadline."""
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), self._settings.drain_seconds)
        except TimeoutError:
            log.error("a worker did not stop in time and is killed", number=self._number)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def supervise(settings: WatcherSettings, stop: Stop) -> None:
    """Run the watcher service until the stop."""
    async with connected(settings) as database:
        wakeups = Wakeups(settings, stop)
        workers = [WorkerProcess(number, settings, stop) for number in range(settings.watcher_processes)]
        checks = {
            "workers": lambda: _crash_loop(workers),
            "change stream": lambda: None if wakeups.is_open else "closed; new work is found by the sweep only",
        }
        async with (
            health.served(
                host=settings.metrics_host,
                port=settings.watcher_metrics_port,
                checks=checks,
                metrics=metrics.exposition,
            ),
            asyncio.TaskGroup() as tasks,
        ):
            log.info("watching", processes=len(workers), metrics_port=settings.watcher_metrics_port, pid=os.getpid())
            tasks.create_task(wakeups.run(), name="change stream")
            sweeper = Sweeper(database, settings, stop)
            tasks.create_task(sweeper.run(), name="sweep")
            for worker in workers:
                tasks.create_task(worker.run(), name="worker process")
            await _ring(wakeups, workers, sweeper)


def _crash_loop(workers: list[WorkerProcess]) -> str | None:
    looping = [worker for worker in workers if worker.is_looping]
    return f"{len(looping)} of {len(workers)} workers die again and again; see the log" if looping else None


async def _ring(wakeups: Wakeups, workers: list[WorkerProcess], sweeper: Sweeper) -> None:
    async for wake_up in wakeups:
        metrics.stream_open.set(wakeups.is_open)
        if wake_up.sweep:
            sweeper.due(wake_up)
        for worker in workers:
            worker.ring(SWEEP if wake_up.sweep else WAKE)


class Sweeper:
    """Sweeps when told that one is due, a little later than told: replicas that were woken together spread out."""

    def __init__(self, database: Database, settings: WatcherSettings, stop: Stop) -> None:
        """Wait to be told."""
        self._sweep = Sweep(database, Blobs(settings.storage_url), settings)
        self._settings = settings
        self._stop = stop
        self._due = asyncio.Event()

    def due(self, _wake_up: WakeUp) -> None:
        """A sweep is due."""
        self._due.set()

    async def run(self) -> None:
        """Sweep at every due time until the stop; trouble with database or store is left to the next sweep."""
        rng = random.Random()  # spreads replicas out, no secret
        trouble = Trouble(log, "sweeping")
        while not self._stop.is_set:
            await self._stop.race(self._due.wait())
            if self._stop.is_set or await self._stop.wait(rng.uniform(0, self._settings.sweep_seconds / 10)):
                return
            self._due.clear()
            try:
                await self._sweep.run_once()
            except TransientError as error:
                trouble.note(error)
            else:
                trouble.over()
