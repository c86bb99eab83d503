"""The three services as real processes, on free ports, with settings that make tests quick."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient

from deploy.local.processes import ROOT, Service, eventually, free_port

__all__ = ["FAST", "ROOT", "Service", "eventually", "forget_all", "services"]

FAST = {
    # A dead worker's lease is waited out in the tests: short, and the check between the settings allows it.
    "LEASE_SECONDS": "3",
    "DATABASE_TIMEOUT_SECONDS": "1",
    "SWEEP_SECONDS": "0.5",
    "WATCHER_PROCESSES": "2",
    # The one origin of a test holds some images back; the others must not wait behind them.
    "FETCH_PER_HOST": "64",
    "WEBHOOK_TIMEOUT_SECONDS": "0.5",
    "WEBHOOK_CONNECT_SECONDS": "0.4",
    "WEBHOOK_SCHEDULE_SECONDS": "0,0.2,0.2,0.2",
}


@asynccontextmanager
async def services(environment: Mapping[str, str], folder: Path) -> AsyncIterator[dict[str, Service]]:
    """Yield the three services, not started, with logs in `folder`; end what still runs."""
    ports = {name: free_port() for name in ("ingest", "watcher", "notifier")}
    machine = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG")}
    shared = {
        **machine,
        "LOG_FORMAT": "json",
        **environment,
        "INGEST_PORT": str(ports["ingest"]),
        "WATCHER_METRICS_PORT": str(ports["watcher"]),
        "NOTIFIER_METRICS_PORT": str(ports["notifier"]),
        "PUBLIC_BASE_URL": f"http://127.0.0.1:{ports['ingest']}",
    }
    made = {
        name: Service(name, shared, port=port, folder=folder, log=folder / f"{name}.log")
        for name, port in ports.items()
    }
    try:
        yield made
    except BaseException:
        for service in made.values():  # pytest shows what is printed by a test that failed
            print(f"--- {service.name}\n{service.said()}")
        raise
    finally:
        for service in made.values():
            await service.stop()


async def forget_all(environment: Mapping[str, str]) -> None:
    """Empty the database of services that several tests share."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(environment["MONGO_CONNECTION_STRING"])
    database = client[environment["DATABASE_NAME"]]
    for name in await database.list_collection_names():
        await database[name].delete_many({})
    client.close()
