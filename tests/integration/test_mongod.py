"""The embedded replica set: survives the death of members, and never touches what is not its own."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.write_concern import WriteConcern

from deploy.local.member import find_mongod, runnable
from deploy.local.mongod import MongodError, ReplicaSet
from deploy.local.processes import ROOT, eventually, free_port

MAJORITY = WriteConcern("majority", wtimeout=20_000)

STARTED_BY_A_PARENT = """
import sys, time
from pathlib import Path
from deploy.local.mongod import ReplicaSet
running = ReplicaSet(Path(sys.argv[1]))
running.start()
print(running.members[0].pid, flush=True)
time.sleep(120)
"""


def write(uri: str, number: int) -> None:
    with MongoClient[dict[str, Any]](uri, retryWrites=True, serverSelectionTimeoutMS=20_000) as client:
        client.test.get_collection("numbers", write_concern=MAJORITY).insert_one({"_id": number})


def read(uri: str) -> list[int]:
    with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=20_000) as client:
        return [document["_id"] for document in client.test.numbers.find().sort("_id")]


def is_running(pid: int) -> bool:
    """Whether a process works; one that only waits to be buried does not (proc(5), state Z)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_three_members_outlive_their_primary(tmp_path: Path) -> None:
    """Killed right after the start, the primary is replaced, writes go on, and back again it takes part; all end."""
    with ReplicaSet(tmp_path, members=3, fast_elections=True) as running:
        first = running.wait_for_primary()
        first.kill()  # before anything is written: a majority's answer would show that a second one is ready
        assert first.pid is None
        assert running.wait_for_primary() is not first
        write(running.uri, 1)
        running.restart(first)
        pids = [member.pid for member in running.members]
        assert None not in pids
        assert read(running.uri) == [1]
    assert [pid for pid in pids if pid and is_running(pid)] == []


def test_a_folder_is_taken_up_again_on_another_port(tmp_path: Path) -> None:
    """What was written is there after a restart, though the set has to learn its new address."""
    with ReplicaSet(tmp_path) as before:
        write(before.uri, 1)
    with ReplicaSet(tmp_path, port=free_port()) as after:
        assert after.uri != before.uri
        write(after.uri, 2)
        assert read(after.uri) == [1, 2]


def test_a_halted_member_can_be_stopped(tmp_path: Path) -> None:
    """A member under SIGSTOP ends with the others, well before the deadline that would kill it."""
    with ReplicaSet(tmp_path) as running:
        member = running.members[0]
        member.kill(signal.SIGSTOP)
        pid = member.pid
    assert pid is not None
    assert not is_running(pid)
    assert "Now exiting" in (tmp_path / "member0" / "mongod.log").read_text()  # by itself: it was not killed


def test_a_member_that_died_by_itself_is_no_trouble_for_the_rest(tmp_path: Path) -> None:
    """Stopping a set whose member is gone ends quietly, and again does nothing."""
    running = ReplicaSet(tmp_path)
    running.start()
    running.members[0].kill()
    running.stop()
    running.stop()


def test_a_port_of_another_program_is_told(tmp_path: Path) -> None:
    """The message names the port and the setting; nothing is started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(MongodError, match=f"port {port} .*set MONGO_PORT"), ReplicaSet(tmp_path, port=port):
            pass
    assert list(tmp_path.iterdir()) == []


def test_the_mongod_of_somebody_else_is_not_taken_for_ours(replica_set: ReplicaSet, tmp_path: Path) -> None:
    """A set on the port of another is refused, instead of working on the other's data."""
    theirs = replica_set.members[0]
    with pytest.raises(MongodError, match="is taken"), ReplicaSet(tmp_path, port=theirs.port):
        pass
    assert theirs.pid is not None


def test_a_folder_in_use_is_told(tmp_path: Path) -> None:
    """Two sets on one folder: the second is refused by name, the first works on."""
    with ReplicaSet(tmp_path) as first:
        with pytest.raises(MongodError, match=f"another mongod works in {tmp_path}"), ReplicaSet(tmp_path):
            pass
        write(first.uri, 1)


async def test_nothing_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    """SIGKILL gives the parent no chance to tidy up; its mongod ends all the same."""
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STARTED_BY_A_PARENT, str(tmp_path)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    pid = int(await asyncio.wait_for(parent.stdout.readline(), 60))
    assert is_running(pid)
    parent.kill()
    await parent.wait()

    async def is_gone() -> bool:
        return not is_running(pid)

    await eventually(is_gone)


def script(folder: Path, text: str) -> Path:
    program = folder / "mongod"
    program.write_text(text)
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("#!/bin/sh\necho mongod: error while loading shared libraries: libcurl.so.4\nexit 127\n", "apt-get install"),
        ("#!/bin/sh\necho out of everything\nexit 3\n", "out of everything"),
        ("\x7fELF of another machine", "cannot be run on this machine"),
    ],
)
def test_a_mongod_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    """A missing library comes with the command that installs it; other reasons are passed on."""
    script(tmp_path, text)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(MongodError, match=told), ReplicaSet(tmp_path / "data"):
        pass


def test_a_mongod_on_path_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed MongoDB is used rather than the wheel's."""
    program = script(tmp_path, "#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert find_mongod() == program


def test_a_lost_run_bit_is_set_again(tmp_path: Path) -> None:
    """Unpacked without its run bit, the program gets it back."""
    program = script(tmp_path, "#!/bin/sh\n")
    program.chmod(0o644)
    assert runnable(program).stat().st_mode & 0o111 == 0o111
