"""What happens to the system, drawn from the seed: about every second one of its processes, or MongoDB's, is struck."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from deploy.local.mongod import Member, ReplicaSet
from tests.chaos.system import LEASE_SECONDS, System, send

BETWEEN_SECONDS: Final = (0.4, 1.4)

FAILOVER_EVERY_SECONDS: Final = 14.0
"""Elections take a second or two, and a member that was killed some seconds more to be of use again."""

MEMBER_BACK_AFTER_SECONDS: Final = (1.0, 4.0)
PAUSE_SECONDS: Final = (LEASE_SECONDS + 1.0, LEASE_SECONDS + 3.0)

SERVICE_BLOWS: Final = {"kill": 6, "terminate": 2, "pause": 2}
"""How often each comes, relative to the others."""


@dataclass
class Blows:
    """Strikes, and counts what it did. `say` tells each blow as a line."""

    system: System
    replica_set: ReplicaSet
    rng: random.Random
    say: Callable[[str], None]
    counts: Counter[str] = field(default_factory=Counter)
    _paused: set[int] = field(default_factory=set)
    _later: set[asyncio.Task[None]] = field(default_factory=set)

    async def go_on(self, seconds: float) -> None:
        """Strike for `seconds`, then wait until what was paused goes on and what was killed is back."""
        clock = asyncio.get_running_loop().time
        ends = clock() + seconds
        failover_at = clock() + FAILOVER_EVERY_SECONDS / 2
        while clock() < ends:
            await asyncio.sleep(self.rng.uniform(*BETWEEN_SECONDS))
            if clock() > failover_at:
                failover_at = clock() + FAILOVER_EVERY_SECONDS
                await self._failover()
            else:
                self._strike_service()
        await asyncio.gather(*self._later)

    @property
    def kills(self) -> int:
        """Processes that were killed with SIGKILL, MongoDB's among them."""
        return self.counts["kill"] + self.counts["kill the primary"]

    @property
    def failovers(self) -> int:
        """Primaries that were killed or told to step down."""
        return self.counts["kill the primary"] + self.counts["step down"]

    def _strike_service(self) -> None:
        what = self.rng.choices(list(SERVICE_BLOWS), list(SERVICE_BLOWS.values()))[0]
        workers = {name: pid for name, pid in self.system.workers().items() if pid not in self._paused}
        targets = workers if what == "pause" else {**self.system.supervisors(), **workers}
        if not targets:
            return
        name = self.rng.choice(sorted(targets))
        if what == "pause":
            self._soon(self._pause(name, targets[name], self.rng.uniform(*PAUSE_SECONDS)))
        elif send(targets[name], signal.SIGKILL if what == "kill" else signal.SIGTERM):
            self._count(what, name)

    async def _pause(self, name: str, pid: int, seconds: float) -> None:
        if not send(pid, signal.SIGSTOP):
            return
        self._count("pause", f"{name} for {seconds:.1f} s")
        self._paused.add(pid)
        await asyncio.sleep(seconds)
        self._paused.discard(pid)
        send(pid, signal.SIGCONT)

    async def _failover(self) -> None:
        """Kill the primary or have it step down; a third member that is missing would leave no majority."""
        if not await asyncio.to_thread(_all_well, self.replica_set):
            return
        primary = await asyncio.to_thread(self.replica_set.wait_for_primary)
        if self.rng.random() < 0.5:
            await asyncio.to_thread(primary.kill)
            self._count("kill the primary", primary.address)
            self._soon(self._bring_back(primary, self.rng.uniform(*MEMBER_BACK_AFTER_SECONDS)))
        elif await asyncio.to_thread(_step_down, primary):
            self._count("step down", primary.address)

    async def _bring_back(self, member: Member, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(member.start)

    def _soon(self, happening: Any) -> None:
        task = asyncio.create_task(happening)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    def _count(self, what: str, target: str) -> None:
        self.counts[what] += 1
        self.say(f"{what}: {target}")


def _all_well(replica_set: ReplicaSet) -> bool:
    """Tell whether every member is the primary or follows it."""
    client: MongoClient[dict[str, Any]]
    with MongoClient(replica_set.uri, serverSelectionTimeoutMS=500) as client:
        try:
            members = client.admin.command("replSetGetStatus")["members"]
        except PyMongoError:
            return False
    return sorted(member["stateStr"] for member in members) == ["PRIMARY", "SECONDARY", "SECONDARY"]


def _step_down(member: Member) -> bool:
    """Have a primary step down at once, without waiting for others to catch up; return whether it did."""
    client: MongoClient[dict[str, Any]]
    with MongoClient(member.address, directConnection=True, serverSelectionTimeoutMS=1000) as client:
        try:
            client.admin.command("replSetStepDown", 5, force=True)
        except PyMongoError:
            return False
    return True
