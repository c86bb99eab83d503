"""The process that an operator starts: it reads the one change stream of the container, rings its worker processes,
sweeps, answers health checks, and replaces workers that die.
"""

from __future__ import annotations

import asyncio
import random

from imagepress import health, logs, metrics
from imagepress.blobs import Blobs
from imagepress.errors import TransientError
from imagepress.lifecycle import Stop
from imagepress.mongo import Database, connected
from imagepress.retry import SETTLE_SECONDS, Trouble
from imagepress.wakeups import WakeUp, Wakeups
from services.watcher.settings import WatcherSettings
from services.watcher.sweep import Sweep
from services.watcher.worker import SWEEP, WAKE
from services.watcher.worker_process import WorkerProcess

log = logs.get(__name__)


async def supervise(settings: WatcherSettings, stop: Stop) -> None:
    """Run the watcher service until the stop."""
    wakeups = Wakeups(settings, stop)
    workers = [WorkerProcess(number, settings, stop) for number in range(settings.watcher_processes)]
    checks = {
        "workers": lambda: _crash_loop(workers) or _starting(workers),
        "change stream": lambda: None if wakeups.is_open else "closed; new work is found by the sweep only",
    }
    # Health first: while MongoDB is away the service is alive, and says why it is not ready.
    async with (
        health.served(
            host=settings.metrics_host,
            port=settings.watcher_metrics_port,
            checks=checks,
            metrics=metrics.exposition,
        ),
        connected(settings, stop) as database,
        asyncio.TaskGroup() as tasks,
    ):
        log.info("watching", processes=len(workers), metrics_port=settings.watcher_metrics_port)
        tasks.create_task(wakeups.run(), name="change stream")
        sweeper = Sweeper(database, settings, stop)
        tasks.create_task(sweeper.run(), name="sweep")
        for worker in workers:
            tasks.create_task(worker.run(), name="worker process")
        await _ring(wakeups, workers, sweeper)


def _crash_loop(workers: list[WorkerProcess]) -> str | None:
    looping = [worker for worker in workers if worker.is_looping]
    return f"{len(looping)} of {len(workers)} workers die again and again; see the log" if looping else None


def _starting(workers: list[WorkerProcess]) -> str | None:
    starting = [worker for worker in workers if not worker.was_ready]
    return f"{len(starting)} of {len(workers)} workers have not started yet" if starting else None


async def _ring(wakeups: Wakeups, workers: list[WorkerProcess], sweeper: Sweeper) -> None:
    async for wake_up in wakeups:
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
        trouble = Trouble(log, "sweeping", settle_seconds=SETTLE_SECONDS)
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
