"""The whole system on this machine: a MongoDB of its own, unless there is one to use, and the three services."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.mongod import ReplicaSet
from deploy.local.processes import Service

NAMES = ("ingest", "watcher", "notifier")


@dataclass(frozen=True)
class Ports:
    """The ports of the system, each free or, as a setting, required to be."""

    mongo: int
    ingest: int
    watcher: int
    notifier: int


@asynccontextmanager
async def running(
    folder: Path, ports: Ports, settings: Mapping[str, str], *, logs: bool
) -> AsyncIterator[dict[str, Service]]:
    """Start everything with data in `folder`, yield the services, end everything in order.

    `settings` win over what is set here; with a MONGO_CONNECTION_STRING among them no mongod is started. `logs`: to
    files in `folder`, instead of where this process writes. Raises `MongodError`, `ServiceDied`, `TimeoutError`.
    """
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - once, before anything runs
    mongod = None if settings.get("MONGO_CONNECTION_STRING") else ReplicaSet(folder / "mongo", port=ports.mongo)
    if mongod:
        await asyncio.to_thread(mongod.start)
    made = _services(folder, ports, _environment(folder, ports, settings, mongod), logs=logs)
    try:
        await asyncio.gather(*(service.start() for service in made.values()))
        yield made
    finally:
        for name in NAMES:  # in the direction of the work: nothing new comes in, then what is in hand is given back
            await made[name].stop()
        if mongod:
            await asyncio.to_thread(mongod.stop)


def _environment(folder: Path, ports: Ports, settings: Mapping[str, str], mongod: ReplicaSet | None) -> dict[str, str]:
    ours = {
        "MONGO_CONNECTION_STRING": mongod.uri if mongod else "",
        "DATABASE_NAME": "imagepress",
        "COLLECTION_NAME": "requests",
        "STORAGE_URL": f"file://{folder.absolute() / 'images'}",
        "PUBLIC_BASE_URL": f"http://localhost:{ports.ingest}",
        # The local origin and the webhook-test of this machine may be called: here, and nowhere else by default.
        "ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",
        "INGEST_PORT": str(ports.ingest),
        "WATCHER_METRICS_PORT": str(ports.watcher),
        "NOTIFIER_METRICS_PORT": str(ports.notifier),
        "LOG_FORMAT": "console",
    }
    return {**os.environ, **ours, **{name: value for name, value in settings.items() if value}}


def _services(folder: Path, ports: Ports, environment: dict[str, str], *, logs: bool) -> dict[str, Service]:
    numbers = {"ingest": ports.ingest, "watcher": ports.watcher, "notifier": ports.notifier}
    return {
        name: Service(
            name, environment, port=numbers[name], folder=folder, log=folder / f"{name}.log" if logs else None
        )
        for name in NAMES
    }
