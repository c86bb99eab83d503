"""What every measurement stands on: the three services as processes, a database of their own, looks at memory."""

from __future__ import annotations

import os
import statistics
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from imagepress.mongo import Database, connected
from imagepress.settings import CommonSettings, load
from tests.support.processes import Service, services


@dataclass(frozen=True)
class Bench:
    """Where a measurement works: a folder, MongoDB, and the name of its database."""

    folder: Path
    mongo_uri: str
    name: str

    @property
    def environment(self) -> dict[str, str]:
        """The settings of the services, as an operator would write them."""
        return {
            "MONGO_CONNECTION_STRING": self.mongo_uri,
            "DATABASE_NAME": f"bench_{self.name}",
            "COLLECTION_NAME": "requests",
            "STORAGE_URL": f"file://{self.folder / 'images'}",
            "ALLOWED_NETWORKS": "127.0.0.0/8",
            "LOG_LEVEL": "WARNING",
        }

    @asynccontextmanager
    async def running(self, *names: str, **settings: str) -> AsyncIterator[dict[str, Service]]:
        """Start the named services with further settings; end them afterwards."""
        self.folder.mkdir(parents=True, exist_ok=True)
        async with services({**self.environment, **settings}, self.folder) as made:
            for name in names:
                await made[name].start()
            yield made

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """Open the database that the services use."""
        variables = {name.lower(): value for name, value in self.environment.items()}
        wanted = ("mongo_connection_string", "database_name", "collection_name")
        async with connected(
            load(CommonSettings, _env_file=None, **{name: variables[name] for name in wanted})
        ) as opened:
            yield opened


def peak_mb(pid: int) -> float:
    """Return the peak resident memory of a process, in megabytes (VmHWM of proc(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"process {pid} has no VmHWM")


def cpu_seconds(pid: int) -> float:
    """Return what a process has used of the CPU, user and system, its threads included (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_of(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def p50(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def p95(values: Sequence[float]) -> float:
    """Return the 95th percentile."""
    return statistics.quantiles(values, n=20)[-1]
