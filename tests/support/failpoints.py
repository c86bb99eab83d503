"""A real mongod that misbehaves as told, by its own failpoint `failCommand` (needs `TEST_COMMANDS` at its start).

Source: https://github.com/mongodb/mongo/wiki/The-%22failCommand%22-fail-point
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from deploy.local.mongod import Member, ReplicaSet

TEST_COMMANDS: Final = ("enableTestCommands=1",)
"""What `ReplicaSet(parameters=…)` needs for failpoints."""

OURS: Final = "imagepress"
"""The name that the services' clients give: the commands of the tests' own clients and of other members pass."""


class Failing:
    """Trouble that lasts until its context ends."""

    def __init__(self, members: Sequence[Member]) -> None:
        """Begin with nothing counted."""
        self._members = members
        self._before = self._entered()

    @property
    def times(self) -> int:
        """How many commands have run into the trouble so far, on all members together."""
        return self._entered() - self._before

    def _entered(self) -> int:
        asked = {"getParameter": 1, _PARAMETER: 1}
        return sum(_admin(member, asked)[_PARAMETER]["timesEntered"] for member in self._members)


_PARAMETER: Final = "failpoint.failCommand"


@contextmanager
def failing(replica_set: ReplicaSet, *commands: str, **data: Any) -> Iterator[Failing]:
    """Let `commands` of the services fail on every running member, as `data` says, while the context lasts.

    `errorCode=13`: with that code; `closeConnection=True`: by a cut connection; `blockConnection=True,
    blockTimeMS=500`: after so many milliseconds, and alone not at all; `namespace="db.collection"`: there only.
    """
    members = [member for member in replica_set.members if member.pid is not None]
    trouble = Failing(members)
    settings = {"failCommands": list(commands), "appName": OURS, **data}
    for member in members:
        _admin(member, {"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": settings})
    try:
        yield trouble
    finally:
        for member in members:
            _admin(member, {"configureFailPoint": "failCommand", "mode": "off"})


@contextmanager
def lagging(replica_set: ReplicaSet) -> Iterator[None]:
    """Let no member copy anything from another while the context lasts: what the primary writes, it alone has."""
    _stop_copying(replica_set, "alwaysOn")
    try:
        yield
    finally:
        _stop_copying(replica_set, "off")


def _stop_copying(replica_set: ReplicaSet, mode: str) -> None:
    for member in replica_set.members:
        if member.pid is not None:
            _admin(member, {"configureFailPoint": "stopReplProducer", "mode": mode})


def _admin(member: Member, command: dict[str, Any]) -> dict[str, Any]:
    with member.client() as client:
        return client.admin.command(command)
