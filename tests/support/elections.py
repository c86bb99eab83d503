"""A replica set of three whose members die and come back in the middle of an async test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from deploy.local.mongod import ReplicaSet
from tests.support.failpoints import TEST_COMMANDS

STEP_DOWN_SECONDS: Final = 5


class Elections:
    """What may happen to a replica set. Its processes are started by `keeper`, a thread that outlives them.

    Linux ends a mongod with the thread that started it (see `die_with_parent`), so it must not be a thread of one
    test's event loop; and the loop, which serves the origin, must not wait for a start.
    """

    def __init__(self, replica_set: ReplicaSet, keeper: Executor) -> None:
        """Act on a set that runs."""
        self.replica_set = replica_set
        self._keeper = keeper

    async def step_down(self) -> None:
        """Ask the primary to make room; return when there is another."""
        await self._do(self._step_down)

    async def term(self) -> int:
        """Return how many primaries there have been, by the set's own count."""
        status = await asyncio.to_thread(self._status)
        return int(status["term"])

    def _status(self) -> dict[str, Any]:
        with self.replica_set.wait_for_primary().client() as client:
            return client.admin.command("replSetGetStatus")

    async def kill_primary(self) -> None:
        """Kill the primary with SIGKILL; return at once."""
        await self._do(lambda: self.replica_set.wait_for_primary().kill())

    async def restart_all(self) -> None:
        """Kill every member with SIGKILL, and start them all again."""
        await self._do(self._restart_all)

    async def mend(self) -> None:
        """Start whoever was killed, and wait until all take part."""
        await self._do(self._mend)

    async def _do(self, action: Callable[[], Any]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._keeper, action)

    def _step_down(self) -> None:
        primary = self.replica_set.wait_for_primary()
        with primary.client() as client:
            client.admin.command("replSetStepDown", STEP_DOWN_SECONDS, secondaryCatchUpPeriodSecs=2)
        self.replica_set.wait_for_primary()

    def _restart_all(self) -> None:
        for member in self.replica_set.members:
            member.kill()
        self.replica_set.start()

    def _mend(self) -> None:
        for member in self.replica_set.members:
            if member.pid is None:
                self.replica_set.restart(member)
        self.replica_set.wait_for_primary()


@contextmanager
def three_members(folder: Path) -> Iterator[Elections]:
    """Run a set that elects quickly, and that can be told to fail, until the context ends."""
    replica_set = ReplicaSet(folder, members=3, fast_elections=True, parameters=TEST_COMMANDS)
    with ThreadPoolExecutor(1, thread_name_prefix="keeper") as keeper:
        try:
            keeper.submit(replica_set.start).result()
            yield Elections(replica_set, keeper)
        finally:
            replica_set.stop()
