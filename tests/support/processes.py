"""The services as real processes, as an operator starts them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import httpx

from deploy.local.mongod import free_port

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 30.0

FAST = {
    # A dead worker's lease is waited out in the tests: short, and the check between the settings allows it.
    "LEASE_SECONDS": "3",
    "DATABASE_TIMEOUT_SECONDS": "1",
    "SWEEP_SECONDS": "0.5",
    "WATCHER_PROCESSES": "2",
    "WEBHOOK_TIMEOUT_SECONDS": "0.5",
    "WEBHOOK_CONNECT_SECONDS": "0.4",
    "WEBHOOK_SCHEDULE_SECONDS": "0,0.2,0.2,0.2",
}


class Service:
    """One service process; its log goes to a file, which a failing test shows."""

    def __init__(self, name: str, environment: Mapping[str, str], log: Path, port: int) -> None:
        self.name = name
        self.log = log
        self.url = f"http://127.0.0.1:{port}"
        self._environment = dict(environment)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "start it first"
        return self._process

    async def start(self) -> Self:
        """Start, and wait until `/readyz` says yes."""
        await self.spawn()
        await self.until_ready()
        return self

    async def spawn(self, *command: str) -> None:
        """Start without waiting; `command` instead of `python -m services.NAME`."""
        variables = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG")}
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(command or (sys.executable, "-m", f"services.{self.name}")),
                cwd=ROOT,
                env={**variables, "LOG_FORMAT": "json", **self._environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def until_ready(self) -> None:
        async with httpx.AsyncClient() as client:

            async def ready() -> bool:
                assert self.process.returncode is None, f"{self.name} ended:\n{self.said()}"
                try:
                    return (await client.get(f"{self.url}/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(ready, READY_SECONDS)

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to the process (not its children) and wait for its end; return the exit status."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 60)

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-5000:] if self.log.exists() else ""


@asynccontextmanager
async def services(environment: Mapping[str, str], folder: Path) -> AsyncIterator[dict[str, Service]]:
    """Yield the three services, not started, on free ports; end what still runs."""
    ports = {name: free_port() for name in ("ingest", "watcher", "notifier")}
    shared = {
        **environment,
        "INGEST_PORT": str(ports["ingest"]),
        "WATCHER_METRICS_PORT": str(ports["watcher"]),
        "NOTIFIER_METRICS_PORT": str(ports["notifier"]),
        "PUBLIC_BASE_URL": f"http://127.0.0.1:{ports['ingest']}",
    }
    made = {name: Service(name, shared, folder / f"{name}.log", port) for name, port in ports.items()}
    try:
        yield made
    finally:
        for service in made.values():
            if service._process is not None and service.process.returncode is None:
                service.process.terminate()
                try:
                    await asyncio.wait_for(service.process.wait(), 30)
                except TimeoutError:
                    service.process.kill()
                    await service.process.wait()


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait until `condition` holds; fail after `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not await condition():
        assert loop.time() < deadline, f"did not come true within {seconds:g} s: {condition}"
        await asyncio.sleep(0.02)
