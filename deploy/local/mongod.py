"""A real MongoDB replica set on this machine: one member to work with, or three to see one die.

`mongod` comes from PATH, or else from the PyPI wheel that the extra `local` installs.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from deploy.local.processes import die_with_parent, free_port

START_SECONDS = 60.0
STOP_SECONDS = 20.0
ALREADY_INITIALIZED = 23


class MongodError(Exception):
    """MongoDB cannot be started here."""


def find_mongod() -> Path:
    """Return the `mongod` to run. Raises `MongodError` with the remedy where there is none."""
    if found := shutil.which("mongod"):
        return Path(found)
    spec = find_spec("fiftyone")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(folder) / "db" / "bin" / "mongod"
        if bundled.exists():
            bundled.chmod(0o755)  # unpacking may have lost the run bit
            return bundled
    raise MongodError(
        "there is no mongod on PATH, and the wheel that carries one is not installed (it exists for Linux x86-64 and "
        "arm64 and for macOS).\nInstall MongoDB, or set MONGO_CONNECTION_STRING to a replica set that you have."
    )


class Member:
    """One mongod process and its folder."""

    def __init__(self, folder: Path, port: int, *, cache_mb: int, parameters: list[str]) -> None:
        """Prepare; nothing is started."""
        self.port = port
        self._folder = folder
        self._cache_mb = cache_mb
        self._parameters = parameters
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start the process; it answers a moment later."""
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [
            str(find_mongod()),
            *("--replSet", "rs0", "--bind_ip", "127.0.0.1", "--port", str(self.port)),
            *("--dbpath", str(self._folder), "--logpath", str(self._folder / "mongod.log"), "--logappend"),
            *("--wiredTigerCacheSizeGB", f"{self._cache_mb / 1024:.2f}", *self._parameters),
        ]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the services first; this one is stopped last, by its pid
            preexec_fn=die_with_parent,
        )

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the process; wait for its end where the signal means one."""
        if self._process is None:
            return
        self._process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._reap()

    def _reap(self) -> None:
        if self._process is None:
            return
        try:
            self._process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def wait_until_answering(self, deadline: float) -> None:
        """Wait until the process answers. Raises `MongodError` with what it said where it died."""
        with MongoClient[dict[str, Any]](self.address, directConnection=True, serverSelectionTimeoutMS=200) as client:
            while True:
                try:
                    client.admin.command("ping")
                except PyMongoError:
                    self._check_alive(deadline)
                else:
                    return

    def _check_alive(self, deadline: float) -> None:
        if self._process is not None and self._process.poll() is not None:
            said = (self._process.communicate()[0] or b"").decode(errors="replace").strip()
            raise MongodError(_explained(said or _last_lines(self._folder / "mongod.log"), self.port))
        if time.monotonic() > deadline:
            raise MongodError(f"mongod on port {self.port} does not answer within {START_SECONDS:g} s")


def _explained(said: str, port: int) -> str:
    if "libcurl" in said or "libcrypto" in said or "libssl" in said:
        return f"mongod needs system libraries: apt-get install -y libcurl4 openssl\n{said}"
    if "Address already in use" in said:
        return f"the port {port} for MongoDB is taken by another program; set MONGO_PORT to a free one"
    return f"mongod ended at once:\n{said}"


def _last_lines(log: Path, count: int = 5) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:]) if log.exists() else ""


class ReplicaSet:
    """A replica set in a folder; a context manager that starts and stops it. An existing folder is taken up again."""

    def __init__(
        self, folder: Path, *, members: int = 1, port: int = 0, cache_mb: int = 256, fast_elections: bool = False
    ) -> None:
        """Prepare `members` on `port` and those after it, or on free ports."""
        self._fast_elections = fast_elections
        # Streams tell of a change once a majority has it; waiting for the checkpoint timer would only slow stopping.
        parameters = ["--setParameter", "diagnosticDataCollectionEnabled=false", "--quiet"]
        self.members = [
            Member(folder / f"member{n}", port + n if port else free_port(), cache_mb=cache_mb, parameters=parameters)
            for n in range(members)
        ]

    @property
    def uri(self) -> str:
        """Connection string."""
        return f"mongodb://{','.join(member.address for member in self.members)}/?replicaSet=rs0"

    def __enter__(self) -> Self:
        """Start, and wait for a primary."""
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
        """Start all members, initiate the set if it is new, wait for a primary. Raises `MongodError`."""
        deadline = time.monotonic() + START_SECONDS
        for member in self.members:
            member.start()
        for member in self.members:  # all of them, before the initiation: a missing member would be voted on
            member.wait_until_answering(deadline)
        self._initiate()
        self.wait_for_primary(deadline)

    def _initiate(self) -> None:
        members = [{"_id": n, "host": member.address} for n, member in enumerate(self.members)]
        config: dict[str, Any] = {"_id": "rs0", "members": members}
        if self._fast_elections:
            config["settings"] = {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 300}
        with MongoClient[dict[str, Any]](self.members[0].address, directConnection=True) as client:
            try:
                client.admin.command("replSetInitiate", config)
            except OperationFailure as error:
                if error.code != ALREADY_INITIALIZED:
                    raise MongodError(f"the replica set cannot be initiated: {error}") from error
                self._reconfigure(client, members)

    def _reconfigure(self, client: MongoClient[dict[str, Any]], members: list[dict[str, Any]]) -> None:
        """Take up a folder whose set knew other ports."""
        config = client.admin.command("replSetGetConfig")["config"]
        if [member["host"] for member in config["members"]] != [member["host"] for member in members]:
            config |= {"members": members, "version": config["version"] + 1}
            client.admin.command("replSetReconfig", config, force=True)

    def wait_for_primary(self, deadline: float | None = None) -> Member:
        """Return the primary once there is one that takes writes. Raises `MongodError`."""
        ends = deadline or time.monotonic() + START_SECONDS
        while time.monotonic() < ends:
            for member in self.members:
                if member.pid is not None and _is_primary(member):
                    return member
            time.sleep(0.05)
        raise MongodError(f"the replica set has no primary after {START_SECONDS:g} s")

    def stop(self) -> None:
        """Stop every member and wait for its end."""
        for member in self.members:
            if member.pid is not None:
                member.kill(signal.SIGTERM)


def _is_primary(member: Member) -> bool:
    with MongoClient[dict[str, Any]](
        member.address, directConnection=True, serverSelectionTimeoutMS=500, socketTimeoutMS=500
    ) as client:
        try:
            return bool(client.admin.command("hello")["isWritablePrimary"])
        except PyMongoError:
            return False
