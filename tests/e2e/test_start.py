"""Start-up in any order: services that come before MongoDB are alive, are not ready, and go on by themselves."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from pathlib import Path

import httpx

from deploy.local.mongod import ReplicaSet
from deploy.local.processes import free_port
from tests.support.processes import FAST, Service, eventually, services
from tests.support.uploads import csv_of


async def _is_alive(service: Service) -> bool:
    async with httpx.AsyncClient(base_url=service.url) as client:
        try:
            return (await client.get("/livez")).status_code == 200
        except httpx.TransportError:
            return False


async def test_services_that_come_before_mongodb_wait_for_it(environment: dict[str, str], tmp_path: Path) -> None:
    """Without MongoDB each is alive and not ready, and an upload is refused for now; when it comes all are ready."""
    port = free_port()
    away = {**environment, **FAST, "MONGO_CONNECTION_STRING": f"mongodb://127.0.0.1:{port}/?replicaSet=rs0"}
    async with services(away, tmp_path) as system, httpx.AsyncClient(timeout=30) as client:
        for service in system.values():
            await service.spawn()
        for service in system.values():
            await eventually(partial(_is_alive, service))
            assert (await client.get(f"{service.url}/readyz")).status_code == 503
        file = {"file": ("c.csv", csv_of(["http://127.0.0.1:1/a"]))}
        refused = await client.post(f"{system['ingest'].url}/api/upload", files=file)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert refused.headers["content-type"] == "application/problem+json"
        mongod = ReplicaSet(tmp_path / "mongod", port=port)
        try:
            await asyncio.to_thread(mongod.start)
            for service in system.values():
                await service.until_ready()
            assert (await client.post(f"{system['ingest'].url}/api/upload", files=file)).status_code == 200
            for service in system.values():
                await service.stop()
        finally:
            await asyncio.to_thread(mongod.stop)


async def test_services_that_wait_for_mongodb_can_be_stopped(environment: dict[str, str], tmp_path: Path) -> None:
    """SIGTERM before MongoDB has ever answered: exit status 0, and no traceback."""
    away = {**environment, **FAST, "MONGO_CONNECTION_STRING": f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0"}
    async with services(away, tmp_path) as system:
        for service in system.values():
            await service.spawn()
        for service in system.values():
            await eventually(partial(_is_alive, service))
            assert await service.kill(signal.SIGTERM) == 0, service.said()
            assert "Traceback" not in service.said()
