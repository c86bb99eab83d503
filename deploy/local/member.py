"""One `mongod` of this machine: found, started, waited for, killed.

The program comes from PATH, or else from the PyPI wheel that the extra `local` installs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from deploy.local.processes import die_with_parent, is_taken

STOP_SECONDS: Final = 20.0
_LAST_WORDS: Final = 5  # lines; what ended it stands at the end


class MongodError(Exception):
    """MongoDB cannot be started here."""


def find_mongod() -> Path:
    """Return the `mongod` to run. Raises `MongodError` with the remedy where there is none."""
    if found := shutil.which("mongod"):
        return Path(found)
    spec = find_spec("fiftyone")  # finds the package without importing it
    for folder in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(folder) / "db" / "bin" / "mongod"
        if bundled.exists():
            return runnable(bundled)
    raise MongodError(
        "there is no mongod on PATH, and the wheel that carries one is not installed (it exists for Linux x86-64 and "
        "arm64 and for macOS).\nInstall MongoDB, or set MONGO_CONNECTION_STRING to a replica set that you have."
    )


def runnable(program: Path) -> Path:
    """Return `program` with its run bit, which unpacking may have lost. Raises `MongodError` where it cannot be set."""
    if not os.access(program, os.X_OK):
        try:
            program.chmod(0o755)
        except PermissionError as error:  # installed by somebody else
            raise MongodError(f"mongod may not be run; as its owner: chmod +x {program}") from error
    return program


class Member:
    """One mongod process and its folder, which it takes up again at every start."""

    def __init__(self, folder: Path, port: int, *, cache_mb: int, parameters: Sequence[str] = ()) -> None:
        """Prepare; nothing is started. `parameters` (`name=value`) are set at every start."""
        self.port = port
        self._folder = folder
        self._cache_mb = cache_mb
        self._parameters = tuple(parameters)
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "mongod.log"
        self._log_began = 0

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start the process; it answers a moment later. Raises `MongodError`."""
        if is_taken(self.port):
            raise MongodError(_taken(self.port))
        self._folder.mkdir(parents=True, exist_ok=True)
        self._log_began = self._log.stat().st_size if self._log.exists() else 0
        with self._said_before_logging.open("wb") as output:
            try:
                self._process = subprocess.Popen(
                    self._command(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is for the services first; this one is stopped last, by its pid
                    preexec_fn=die_with_parent,
                )
            except OSError as error:  # another machine's program, for one
                raise MongodError(f"mongod cannot be run on this machine: {error}") from error

    def _command(self) -> list[str]:
        return [
            str(find_mongod()),
            *("--replSet", "rs0", "--bind_ip", "127.0.0.1", "--port", str(self.port)),
            *("--dbpath", str(self._folder), "--logpath", str(self._log), "--logappend", "--quiet"),
            *("--wiredTigerCacheSizeGB", f"{self._cache_mb / 1024:.2f}"),
            # Nobody analyses this server's health records; without them an idle one leaves the disk alone.
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            # When all members go, none of them is left to take over from the primary: it should not wait for one.
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
            *(part for parameter in self._parameters for part in ("--setParameter", parameter)),
        ]

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the process; wait for its end where the signal means one."""
        if self._process is None:
            return
        self._process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.wait()

    def terminate(self) -> None:
        """Ask the process to end, also one that was halted by SIGSTOP; see `wait`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.send_signal(signal.SIGCONT)

    def wait(self) -> None:
        """Wait for the end of the process; kill it if it does not come."""
        if self._process is None:
            return
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def hello(self) -> dict[str, Any]:
        """Return what the process says of its part in the set; nothing where it does not answer."""
        with self.client(milliseconds=500) as client:
            try:
                return client.admin.command("hello")
            except PyMongoError:
                return {}

    def client(self, milliseconds: int = 10_000) -> MongoClient[dict[str, Any]]:
        """Return a client of this very process, whatever the set is; it waits so long for an answer."""
        return MongoClient(
            self.address,
            directConnection=True,
            serverSelectionTimeoutMS=milliseconds,
            socketTimeoutMS=milliseconds,
        )

    def wait_until_answering(self, deadline: float) -> None:
        """Wait until the process answers, by `time.monotonic`. Raises `MongodError` with the reason where it died."""
        while not self._is_answering():
            if self.pid is None:
                raise MongodError(self._why_it_ended())
            if time.monotonic() > deadline:
                raise MongodError(f"mongod on port {self.port} does not answer")
            time.sleep(0.02)

    def _is_answering(self) -> bool:
        """Whether it is this process that answers: a mongod of somebody else may have been quicker to the port."""
        with self.client(milliseconds=500) as client:
            try:
                options = client.admin.command("getCmdLineOpts")
            except PyMongoError:
                return False
        return bool(options["parsed"].get("storage", {}).get("dbPath") == str(self._folder))

    @property
    def _said_before_logging(self) -> Path:
        return self._folder / "mongod.out"

    def _why_it_ended(self) -> str:
        said = self._said_before_logging.read_text(errors="replace").strip()
        if "error while loading shared libraries" in said:
            return f"mongod needs system libraries: apt-get install -y libcurl4 openssl\n{said}"
        reasons = "\n".join(list(self._logged_errors())[-_LAST_WORDS:]) or said
        if "Address already in use" in reasons:
            return _taken(self.port)
        if "DBPathInUse" in reasons:
            return f"another mongod works in {self._folder}; end it first"
        return f"mongod ended at once; its log is {self._log}\n{reasons}".rstrip()

    def _logged_errors(self) -> Iterator[str]:
        """Yield the errors of this start (docs: "Log Messages", severities E and F)."""
        if not self._log.exists():
            return
        with self._log.open("rb") as log:
            log.seek(self._log_began)
            for line in log:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue  # cut off where the process died
                if entry.get("s") in ("E", "F"):
                    yield f"{entry.get('msg')}: {json.dumps(entry.get('attr', {}))}"


def _taken(port: int) -> str:
    return f"the port {port} for MongoDB is taken by another program; set MONGO_PORT to a free one"
