"""Processes of this machine: waited for, told when they end by themselves, and never left behind."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
from aiohttp import web

from deploy.local import processes
from deploy.local.processes import LAST_WORDS, Service, ServiceDied, eventually, free_port, is_taken

SLEEP = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)


def service(folder: Path, *, port: int | None = None) -> Service:
    return Service("ingest", dict(os.environ), port=port or free_port(), folder=folder, log=folder / "log")


def test_a_free_port_is_free_and_a_listening_one_is_taken() -> None:
    """A port is taken while somebody listens there, and free again afterwards."""
    port = free_port()
    assert not is_taken(port)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", port))
        listening.listen()
        assert is_taken(port)
    assert not is_taken(port)


async def test_a_service_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    """What the process said last stands in the error, however much it said before."""
    failing = service(tmp_path)
    await failing.spawn(sys.executable, "-c", "print('x' * 100_000); print('no database'); raise SystemExit(1)")
    with pytest.raises(ServiceDied, match=r"the ingest service ended at once:\nx+\nno database$") as caught:
        await failing.until_ready()
    assert len(str(caught.value)) < LAST_WORDS + 100
    assert failing.process.returncode == 1


async def test_a_service_that_is_not_ready_is_told_with_its_reason(tmp_path: Path) -> None:
    """The last answer of `/readyz` stands in the error."""

    async def readyz(_request: web.Request) -> web.Response:
        return web.json_response({"problems": {"mongodb": "no primary"}}, status=503)

    app = web.Application()
    app.router.add_get("/readyz", readyz)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    waiting = service(tmp_path, port=runner.addresses[0][1])
    await waiting.spawn(sys.executable, "-c", SLEEP)
    try:
        with pytest.raises(TimeoutError, match=r"ingest service is not ready after 0\.3 s; .*no primary"):
            await waiting.until_ready(0.3)
    finally:
        await waiting.stop()
        await runner.cleanup()


async def test_a_process_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM first, SIGKILL after the deadline; a second stop does nothing."""
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.05)
    stubborn = service(tmp_path)
    await stubborn.spawn(sys.executable, "-c", STUBBORN)

    async def is_deaf() -> bool:
        return "deaf" in stubborn.said()

    await eventually(is_deaf)
    await stubborn.stop()
    assert stubborn.process.returncode == -9
    await stubborn.stop()


async def test_what_was_never_started_stops_at_once(tmp_path: Path) -> None:
    """Stopping is safe at any time; asking for the process is a mistake that is told."""
    idle = service(tmp_path)
    await idle.stop()
    assert idle.said() == ""
    with pytest.raises(RuntimeError, match="ingest was not started"):
        _ = idle.process


async def test_a_condition_that_does_not_hold_ends_the_wait() -> None:
    """The wait names the condition after its deadline."""

    async def never() -> bool:
        return False

    with pytest.raises(TimeoutError, match="never"):
        await eventually(never, 0.01)
