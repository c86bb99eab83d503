"""The services as processes of this machine, as an operator starts them: started, waited for, ended by their pid."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, Self

import httpx

ROOT: Final = Path(__file__).resolve().parents[2]
READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 40.0
LAST_WORDS: Final = 5000  # bytes: what ended a service stands at the end of its log

# Loaded here because between fork and exec a lock of the loader may be held by a thread that is no more.
_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG: Final = 1


class ServiceDied(Exception):
    """A service ended by itself."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_taken(port: int) -> bool:
    """Tell whether another program listens on `port` of 127.0.0.1. Raises `PermissionError` for a privileged one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise
        except OSError:
            return True
    return False


def die_with_parent() -> None:
    """Run between fork and exec: Linux ends the process when its parent dies, however that dies (prctl(2)).

    To be exact, when the thread dies that started it: start processes from threads that stay.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Service:
    """One service process. Its output goes to the file `log`, or, without one, where this process's goes."""

    def __init__(
        self, name: str, environment: Mapping[str, str], *, port: int, folder: Path, log: Path | None = None
    ) -> None:
        """Prepare `python -m services.NAME`, to run in `folder`, with health on `port`."""
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        self._environment = dict(environment)
        self._folder = folder
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The running process. Raises `RuntimeError` before the start."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process

    async def start(self) -> Self:
        """Start, and wait until `/readyz` says yes. Raises `ServiceDied`, `TimeoutError`."""
        await self.spawn()
        await self.until_ready()
        return self

    async def spawn(self, *command: str) -> None:
        """Start without waiting; `command` stands for `python -m services.NAME`."""
        # Modules are found in the checkout, but nothing else of it is: the folder decides which .env is read.
        modules = ":".join(filter(None, (self._environment.get("PYTHONPATH"), str(ROOT))))
        log = self._log.open("ab") if self._log else None
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(command or (sys.executable, "-m", f"services.{self.name}")),
                cwd=self._folder,
                env={**self._environment, "PYTHONPATH": modules},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the parent, which ends its services in order
                preexec_fn=die_with_parent,
            )
        finally:
            if log:
                log.close()

    async def until_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until `/readyz` says yes. Raises `ServiceDied` with its last words, `TimeoutError` with its answer."""
        answer = "nothing"
        async with httpx.AsyncClient() as client:

            async def ready() -> bool:
                nonlocal answer
                if self.process.returncode is not None:
                    said = f":\n{self.said()}" if self._log else "; what it said is above"
                    raise ServiceDied(f"the {self.name} service ended at once{said}".rstrip())
                try:
                    got = await client.get(f"{self.url}/readyz")
                except httpx.TransportError:
                    return False
                answer = got.text
                return got.status_code == 200

            try:
                await eventually(ready, seconds)
            except TimeoutError as error:
                raise TimeoutError(
                    f"the {self.name} service is not ready after {seconds:g} s; {self.url}/readyz says: {answer}"
                ) from error

    async def stop(self) -> None:
        """Ask the process to stop; kill it if it does not. Nothing happens where it does not run."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to the process (not its children) and wait for its end; return the exit status."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), STOP_SECONDS)

    def said(self) -> str:
        """Return the end of its log."""
        if self._log is None or not self._log.exists():
            return ""
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - LAST_WORDS))
            return log.read().decode(errors="replace")


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait until `condition` holds. Raises `TimeoutError` after `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not await condition():
        if loop.time() > deadline:
            raise TimeoutError(f"did not come true within {seconds:g} s: {condition.__qualname__}")
        await asyncio.sleep(0.02)
