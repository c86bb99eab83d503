"""The whole system on this machine: a MongoDB of its own, unless there is one to use, and the three services."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.mongod import ReplicaSet
from deploy.local.processes import Service

NAMES = ("ingest", "watcher", "notifier")

MACHINE = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
"""What a process may need of its environment that is no setting of imagepress."""


@dataclass(frozen=True)
class Ports:
    """The ports of the system, each free or, as a setting, required to be."""

    mongo: int
    ingest: int
    watcher: int
    notifier: int


def machine() -> dict[str, str]:
    """Return the environment without any setting: for a system that must not know of this machine's real one."""
    return {name: os.environ[name] for name in MACHINE if name in os.environ}


@asynccontextmanager
async def running(
    folder: Path, ports: Ports, settings: Mapping[str, str], *, logs: bool
) -> AsyncIterator[dict[str, Service]]:
    """Start everything with data in `folder`, yield the services, end everything in order.

    `settings` are the services' whole environment, and win over what is set here; with a MONGO_CONNECTION_STRING among
    them no mongod is started. `logs`: to files in `folder`, instead of where this process writes. Raises `MongodError`,
    `ServiceDied`, `TimeoutError`.
    """
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - once, before anything runs
    async with AsyncExitStack() as stack:  # ends whatever was started, also when the rest could not be
        uri = settings.get("MONGO_CONNECTION_STRING") or await _started_mongod(stack, folder / "mongo", ports.mongo)
        made = _services(folder, ports, _environment(folder, ports, settings, uri), logs=logs)
        for name in reversed(NAMES):  # they end in the direction of the work: nothing new comes in, then the rest
            stack.push_async_callback(made[name].stop)
        for service in made.values():  # one after the other: all are there to be ended before any is waited for
            await service.spawn()
        await asyncio.gather(*(service.until_ready() for service in made.values()))
        yield made


async def _started_mongod(stack: AsyncExitStack, folder: Path, port: int) -> str:
    mongod = ReplicaSet(folder, port=port)
    stack.push_async_callback(asyncio.to_thread, mongod.stop)
    await asyncio.to_thread(mongod.start)  # the loop's threads stay until it ends (see `die_with_parent`)
    return mongod.uri


def _environment(folder: Path, ports: Ports, settings: Mapping[str, str], uri: str) -> dict[str, str]:
    ours = {
        "MONGO_CONNECTION_STRING": uri,
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
    return {**ours, **{name: value for name, value in settings.items() if value}}


def _services(folder: Path, ports: Ports, environment: dict[str, str], *, logs: bool) -> dict[str, Service]:
    numbers = {"ingest": ports.ingest, "watcher": ports.watcher, "notifier": ports.notifier}
    return {
        name: Service(
            name, environment, port=numbers[name], folder=folder, log=folder / f"{name}.log" if logs else None
        )
        for name in NAMES
    }
