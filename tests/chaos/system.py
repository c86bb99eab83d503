"""The system under attack: two of each service as processes, each started again a moment after it ended."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from deploy.local.processes import READY_SECONDS, Service, eventually, free_port
from tests.bench.system import children_of

LEASE_SECONDS: Final = 4

SETTINGS: Final = {
    "LEASE_SECONDS": str(LEASE_SECONDS),
    "DATABASE_TIMEOUT_SECONDS": "1",
    "SWEEP_SECONDS": "1",
    "DRAIN_SECONDS": "3",
    "WATCHER_PROCESSES": "2",
    "WEBHOOK_TIMEOUT_SECONDS": "1",
    "WEBHOOK_CONNECT_SECONDS": "0.8",
    # Long enough for a subscriber that fails one POST in eight, whatever happens.
    "WEBHOOK_SCHEDULE_SECONDS": "0" + ",0.5" * 20,
    "LOG_FORMAT": "json",
}

BACK_AFTER_SECONDS: Final = (0.2, 2.0)
"""What an orchestrator takes to start a service again."""

BUG: Final = "a task died, so the service stops"
"""What a service says in its log before it ends because of an error that nobody foresaw."""


@dataclass
class Kept:
    """A service that is started again whenever it ends."""

    service: Service
    log: Path
    rng: random.Random
    starts: int = 0

    async def keep(self) -> None:
        """Go on until cancelled."""
        while True:
            await self.service.spawn()
            self.starts += 1
            await self.service.process.wait()
            await asyncio.sleep(self.rng.uniform(*BACK_AFTER_SECONDS))

    async def until_ready(self) -> None:
        """Wait until it says that it is ready. Raises `TimeoutError`."""
        await eventually(self._is_ready, READY_SECONDS)

    async def _is_ready(self) -> bool:
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(f"{self.service.url}/readyz")).status_code == 200
            except httpx.TransportError:
                return False

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        try:
            process = self.service.process
        except RuntimeError:
            return None
        return process.pid if process.returncode is None else None

    def deaths(self) -> list[str]:
        """Return the lines in which it said that it ends by an error nobody foresaw."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if BUG in line]


@dataclass
class System:
    """All services, by name and number (`watcher-1`)."""

    kept: dict[str, Kept]
    _keepers: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def ingests(self) -> list[str]:
        """Where uploads can be sent to."""
        return [kept.service.url for name, kept in self.kept.items() if name.startswith("ingest")]

    def supervisors(self) -> dict[str, int]:
        """Return the process ids of what an operator started, by name."""
        return {name: pid for name, kept in self.kept.items() if (pid := kept.pid) is not None}

    def workers(self) -> dict[str, int]:
        """Return the process ids of the watchers' worker processes, by name.

        Not those in quarantine: their death is by rule 7 the fault of the image that they were working on.
        """
        found: dict[str, int] = {}
        for name, pid in self.supervisors().items():
            if name.startswith("watcher"):
                found |= {f"{name} worker {child}": child for child in _children(pid) if _is_worker(child)}
        return found

    def start(self) -> None:
        """Start everything, and keep it running."""
        self._keepers = [asyncio.create_task(kept.keep(), name=name) for name, kept in self.kept.items()]

    async def stop(self) -> None:
        """Stop everything in order."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(kept.service.stop() for kept in self.kept.values() if kept.starts))


def _children(pid: int) -> list[int]:
    try:
        return children_of(pid)
    except FileNotFoundError:  # it has ended in this moment
        return []


def _is_worker(pid: int) -> bool:
    try:
        return b"--worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; return whether the process was still there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


@asynccontextmanager
async def system_of(environment: Mapping[str, str], folder: Path, rng: random.Random) -> AsyncIterator[System]:
    """Yield two of each service, not started; end what still runs."""
    kept = {}
    for name in ("ingest", "watcher", "notifier"):
        for number in (1, 2):
            port = free_port()
            variable = "INGEST_PORT" if name == "ingest" else f"{name.upper()}_METRICS_PORT"
            log = folder / f"{name}-{number}.log"
            log.touch()
            service = Service(name, {**environment, **SETTINGS, variable: str(port)}, port=port, folder=folder, log=log)
            kept[f"{name}-{number}"] = Kept(service, log, random.Random(rng.random()))
    system = System(kept)
    try:
        yield system
    finally:
        await system.stop()
