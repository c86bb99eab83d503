"""A real MongoDB replica set on this machine: one member to work with, or three to see one die."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from deploy.local.member import Member, MongodError, find_mongod
from deploy.local.processes import free_port

__all__ = ["Member", "MongodError", "ReplicaSet", "find_mongod"]

START_SECONDS: Final = 60.0
ALREADY_INITIALIZED: Final = 23  # a server's error code
# Good for tests: a majority goes on a second or two after its primary died, instead of ten.
_FAST: Final = {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 300}


class ReplicaSet:
    """A replica set in a folder; a context manager that starts and stops it. An existing folder is taken up again."""

    def __init__(
        self,
        folder: Path,
        *,
        members: int = 1,
        port: int = 0,
        cache_mb: int = 256,
        fast_elections: bool = False,
        parameters: Sequence[str] = (),
    ) -> None:
        """Prepare `members` on `port` and those after it, or on free ports; see `Member` for `parameters`."""
        self._fast_elections = fast_elections
        self.members = [
            Member(folder / f"member{n}", port + n if port else free_port(), cache_mb=cache_mb, parameters=parameters)
            for n in range(members)
        ]

    @property
    def uri(self) -> str:
        """Connection string."""
        return f"mongodb://{','.join(member.address for member in self.members)}/?replicaSet=rs0"

    def __enter__(self) -> Self:
        """Start, and wait until the set takes writes."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop every member."""
        self.stop()

    def start(self) -> None:
        """Start all members, initiate the set if it is new, wait until all take part. Raises `MongodError`."""
        deadline = time.monotonic() + START_SECONDS
        for member in self.members:
            member.start()
        for member in self.members:  # all of them, before the initiation: a missing member would be voted on
            member.wait_until_answering(deadline)
        self._initiate()
        self.wait_for_primary(deadline)
        for member in self.members:  # one that still copies its data cannot be elected when the primary dies
            self.wait_for_member(member, deadline)

    def restart(self, member: Member) -> None:
        """Start a member again in its folder, killed before or not; wait until it takes part. Raises `MongodError`."""
        member.kill()
        member.start()
        deadline = time.monotonic() + START_SECONDS
        member.wait_until_answering(deadline)
        self.wait_for_member(member, deadline)

    def _initiate(self) -> None:
        members = [{"_id": n, "host": member.address} for n, member in enumerate(self.members)]
        config: dict[str, Any] = {"_id": "rs0", "members": members}
        if self._fast_elections:
            config["settings"] = _FAST
        with self.members[0].client() as client:
            try:
                if not _is_initiated(client, config):
                    self._reconfigure(client, members)
            except PyMongoError as error:
                raise MongodError(f"the replica set cannot be initiated: {error}") from error

    def _reconfigure(self, client: MongoClient[dict[str, Any]], members: list[dict[str, Any]]) -> None:
        """Take up a folder whose set knew other ports."""
        config = client.admin.command("replSetGetConfig")["config"]
        if [member["host"] for member in config["members"]] != [member["host"] for member in members]:
            config |= {"members": members, "version": config["version"] + 1}
            client.admin.command("replSetReconfig", config, force=True)

    def wait_for_primary(self, deadline: float | None = None) -> Member:
        """Return the primary once there is one that takes writes. Raises `MongodError` after `deadline` (monotonic)."""
        ends = deadline or time.monotonic() + START_SECONDS
        while time.monotonic() < ends:
            for member in self.members:
                if member.pid is not None and member.hello().get("isWritablePrimary"):
                    return member
            time.sleep(0.05)
        raise MongodError("the replica set has no primary in time")

    def wait_for_member(self, member: Member, deadline: float) -> None:
        """Wait until a member is primary or secondary. Raises `MongodError` after `deadline` (monotonic)."""
        while not ((hello := member.hello()).get("isWritablePrimary") or hello.get("secondary")):
            if time.monotonic() > deadline:
                raise MongodError(f"mongod on port {member.port} does not take part in the replica set")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop every member and wait for its end."""
        for member in self.members:
            member.terminate()
        for member in self.members:
            member.wait()


def _is_initiated(client: MongoClient[dict[str, Any]], config: dict[str, Any]) -> bool:
    """Initiate a new set; return False where the folder holds one already. Raises `OperationFailure`."""
    try:
        client.admin.command("replSetInitiate", config)
    except OperationFailure as error:
        if error.code != ALREADY_INITIALIZED:
            raise
        return False
    return True
