"""Start-up checks: what is wrong is said in a sentence, with the remedy, and never with a credential."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from deploy.local.mongod import find_mongod
from deploy.local.processes import free_port
from imagepress.errors import StartupError
from imagepress.mongo import connected
from imagepress.settings import CommonSettings
from services.ingest.settings import IngestSettings
from tests.conftest import MakeSettings
from tests.support.api import serving
from tests.support.processes import ROOT, Service

SERVICES = ("ingest", "watcher", "notifier")


async def _problem(make_settings: MakeSettings, connection_string: str) -> str:
    settings = make_settings(CommonSettings, mongo_connection_string=connection_string, database_timeout_seconds=1)
    with pytest.raises(StartupError) as caught:
        async with connected(settings):
            pass
    return str(caught.value)


async def test_an_unreachable_mongodb_is_named_without_credentials(make_settings: MakeSettings) -> None:
    """Host and remedy are told; user and password are not."""
    said = await _problem(make_settings, f"mongodb://user:hunter2@127.0.0.1:{free_port()}/?replicaSet=rs0")
    assert "127.0.0.1" in said
    assert "IP access list" in said
    assert "hunter2" not in said


async def test_a_malformed_connection_string_is_not_repeated(make_settings: MakeSettings) -> None:
    """A connection string that cannot be parsed may hold a password, so only its kind of fault is told."""
    said = await _problem(make_settings, "mongodb://user:hun/ter2@host:port/")
    assert "MONGO_CONNECTION_STRING" in said
    assert "ter2" not in said


async def test_a_standalone_server_is_refused_with_the_remedy(make_settings: MakeSettings, tmp_path: Path) -> None:
    """A server without a replica set has no change streams: the message says how to get one."""
    port = free_port()
    command = [str(find_mongod()), "--port", str(port), "--bind_ip", "127.0.0.1", "--dbpath", str(tmp_path)]
    standalone = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        settings = make_settings(CommonSettings, mongo_connection_string=f"mongodb://127.0.0.1:{port}/")
        with pytest.raises(StartupError, match=r"standalone server(.|\n)*--replSet"):
            async with connected(settings):
                pass
    finally:
        standalone.terminate()
        await standalone.wait()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_without_settings_lists_all_of_them_and_exits(name: str, tmp_path: Path) -> None:
    """Started alone in an empty folder, each service says what it needs, at once, without a traceback."""
    ended = subprocess.run(
        [sys.executable, "-m", f"services.{name}"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "LEASE_SECONDS": "x", "ALLOWED_PORTS": "0-99999", "MAX_IMAGES": "-1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    for variable in ("MONGO_CONNECTION_STRING", "DATABASE_NAME", "COLLECTION_NAME", "ALLOWED_PORTS"):
        assert f"{variable}: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_uvicorn_alone_tells_the_same(tmp_path: Path) -> None:
    """`uvicorn services.ingest.app:app` says what is missing in a sentence, too."""
    ended = subprocess.run(
        [sys.executable, "-m", "uvicorn", "services.ingest.app:app"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode != 0
    assert "MONGO_CONNECTION_STRING: is required" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_uvicorn_serves_the_ingest(environment: dict[str, str], tmp_path: Path) -> None:
    """The same application under uvicorn's own command is ready, logs as ever, and stops on SIGTERM with status 0."""
    port = free_port()
    service = Service("ingest", environment, port=port, folder=tmp_path, log=tmp_path / "log")
    await service.spawn(sys.executable, "-m", "uvicorn", "services.ingest.app:app", "--port", str(port))
    try:
        await service.until_ready()
    finally:
        await service.stop()
    assert service.process.returncode in (0, -15), service.said()
    assert '"service": "ingest"' in service.said()


async def test_an_application_leaves_the_logs_of_its_process_alone(make_settings: MakeSettings) -> None:
    """Who starts a process sets up its logs; an application that runs in it does not."""
    before = structlog.get_config()
    async with serving(make_settings(IngestSettings)):
        assert structlog.get_config() == before


@pytest.mark.parametrize("name", SERVICES)
async def test_a_taken_port_is_a_sentence(environment: dict[str, str], tmp_path: Path, name: str) -> None:
    """A port that another program has is named; the service exits with 1."""
    taken = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    variable = {"ingest": "INGEST_PORT"}.get(name, f"{name.upper()}_METRICS_PORT")
    log = tmp_path / "log"
    service = Service(name, {**environment, variable: str(port)}, port=port, folder=tmp_path, log=log)
    try:
        await service.spawn()
        assert await asyncio.wait_for(service.process.wait(), 30) == 1
    finally:
        taken.close()
    assert str(port) in service.said()
    assert "cannot start" in service.said()
    assert "Traceback" not in service.said()
