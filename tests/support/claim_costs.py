"""What claims cost inside MongoDB, as its own profiler and its storage engine count: the rest of a claim's time is the
network's and the watcher's, whose processes are busy with images.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean
from typing import Any, Final

from imagepress.mongo import Database

PROFILE_BYTES: Final = 64_000_000
"""Room for some ten thousand claims: the profiler's own, of 1 MB, forgets the first of a long run."""

_CLAIMS: Final = {"command.findAndModify": {"$exists": True}, "command.query.status": "pending"}
_SKIPPED: Final = "Total number of entries skipped by cursor next calls"


@dataclass(frozen=True)
class Costs:
    """A claim's, on average: milliseconds in the server, index keys read, claims tried again after a conflict."""

    server_ms: float
    keys: float
    conflicts: float


async def begin(database: Database) -> None:
    """Let MongoDB write down every claim from now on, and forget those before."""
    profiled = database.batches.database
    await profiled.command({"profile": 0})
    await profiled.drop_collection("system.profile")
    await profiled.create_collection("system.profile", capped=True, size=PROFILE_BYTES)
    # https://www.mongodb.com/docs/manual/reference/command/profile/
    await profiled.command({"profile": 1, "slowms": 0, "filter": _CLAIMS})


async def end(database: Database) -> Costs:
    """Write down no more; return what the claims since `begin` have cost that found a batch."""
    profiled = database.batches.database
    await profiled.command({"profile": 0, "filter": "unset"})
    found: dict[str, Any] = {"nModified": 1}
    claims = [claim async for claim in profiled["system.profile"].find({**_CLAIMS, **found})]
    return Costs(
        server_ms=mean(claim["millis"] for claim in claims),
        keys=mean(claim["keysExamined"] for claim in claims),
        conflicts=mean(claim.get("writeConflicts", 0) for claim in claims),
    )


async def skipped(database: Database) -> int:
    """Return how many deleted entries all reads of MongoDB have waded through since its start.

    A claimed batch leaves one in the index of claims until the storage engine tidies up; no count of keys shows it.
    """
    status = await database.client.admin.command("serverStatus")
    return int(status["wiredTiger"]["cursor"][_SKIPPED])
