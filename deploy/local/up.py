"""`make up`: the whole system on this machine until Ctrl-C; data stays under `.data/`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from deploy.local.mongod import MongodError
from deploy.local.processes import ROOT, Service, ServiceDied, is_taken
from deploy.local.system import Ports, running

DATA: Final = ROOT / ".data"

DEFAULT_PORTS: Final = {
    "MONGO_PORT": 27117,
    "INGEST_PORT": 8000,
    "WATCHER_METRICS_PORT": 9101,
    "NOTIFIER_METRICS_PORT": 9102,
}


class NotUsable(Exception):
    """A setting of this machine's system is not usable."""


def read_settings(env_file: Path) -> dict[str, str]:
    """Return what is set in `.env` and in the environment, which wins unless it is empty, as for the services."""
    written = {name: value for name, value in dotenv_values(env_file).items() if value}
    return {**written, **{name: value for name, value in os.environ.items() if value}}


def read_ports(settings: Mapping[str, str]) -> Ports:
    """Return the ports to use. Raises `NotUsable` with every one that is no port, given twice, or taken."""
    texts = {name: settings.get(name) or str(default) for name, default in DEFAULT_PORTS.items()}
    # With a MongoDB of somebody else's, no port is needed for one.
    needed = [name for name in texts if not (name == "MONGO_PORT" and settings.get("MONGO_CONNECTION_STRING"))]
    problems = [problem for name in needed if (problem := _port_problem(name, texts[name]))]
    problems += [
        f"{first} and {second} are both {texts[first]}"
        for first, second in combinations(needed, 2)
        if texts[first] == texts[second]
    ]
    if problems:
        raise NotUsable("\n".join(problems))
    return Ports(*(int(texts[name]) if name in needed else 0 for name in DEFAULT_PORTS))


def _port_problem(name: str, text: str) -> str | None:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        return f"{name}={text} is not a port between 1 and 65535"
    try:
        taken = is_taken(int(text))
    except PermissionError:
        return f"{name}={text}: this user may not open so low a port; set it to one above 1023"
    return f"the port {text} is taken by another program; set {name} to a free one" if taken else None


def _where(services: dict[str, Service], ports: Ports, settings: dict[str, str]) -> str:
    mongo = "as MONGO_CONNECTION_STRING says"
    if not settings.get("MONGO_CONNECTION_STRING"):
        mongo = f"mongodb://127.0.0.1:{ports.mongo}/?replicaSet=rs0"
    return f"""
imagepress is up; Ctrl-C ends it.
  upload     curl -F file=@catalogue.csv http://localhost:{ports.ingest}/api/upload
  docs       http://localhost:{ports.ingest}/docs
  webhooks   http://localhost:{ports.ingest}/api/webhook-test receives and shows them
  health     {"  ".join(f"{service.url}/readyz" for service in services.values())}
  MongoDB    {mongo}
  data       {DATA}
"""


async def up() -> None:
    """Run until a signal, or until a service ends by itself. Raises `ServiceDied` then."""
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    settings = read_settings(ROOT / ".env")
    ports = read_ports(settings)
    print("starting …", flush=True)
    async with running(DATA, ports, settings, logs=False) as services:
        print(_where(services, ports, settings), flush=True)
        waits = {asyncio.create_task(_death(service)) for service in services.values()}
        waits.add(asyncio.create_task(_told(stopping)))
        done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in pending:
            wait.cancel()
        print("stopping …", flush=True)
        for wait in done:
            wait.result()
    print(f"stopped; the data stays in {DATA}", flush=True)


async def _told(stopping: asyncio.Event) -> None:
    await stopping.wait()


async def _death(service: Service) -> None:
    status = await service.process.wait()
    raise ServiceDied(f"the {service.name} service ended by itself with status {status}; its log is above")


def main() -> int:
    """Run; return the exit status."""
    try:
        asyncio.run(up())
    except (NotUsable, MongodError, ServiceDied, TimeoutError) as error:
        print(f"imagepress: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
