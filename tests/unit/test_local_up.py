"""What `make up` reads before it starts anything: settings and ports, every problem at once."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.processes import free_port
from deploy.local.system import MACHINE, machine
from deploy.local.up import DEFAULT_PORTS, NotUsable, read_ports, read_settings


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield int(listening.getsockname()[1])


def ports(**changed: str) -> dict[str, str]:
    return {name: str(free_port()) for name in DEFAULT_PORTS} | changed


def problems(settings: dict[str, str]) -> list[str]:
    with pytest.raises(NotUsable) as caught:
        read_ports(settings)
    return str(caught.value).splitlines()


def test_ports_are_the_settings() -> None:
    """Each port is the one that is set."""
    settings = ports()
    read = read_ports(settings)
    assert [read.mongo, read.ingest, read.watcher, read.notifier] == [int(settings[name]) for name in DEFAULT_PORTS]


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", "80.5", "²", " "])
def test_what_is_no_port_is_named(text: str) -> None:
    """A text that is no port is refused by the name of its setting."""
    assert problems(ports(INGEST_PORT=text)) == [f"INGEST_PORT={text} is not a port between 1 and 65535"]


def test_every_problem_is_told_at_once(taken: int) -> None:
    """A taken port and one that is none are both told, each with its setting."""
    found = problems(ports(INGEST_PORT=str(taken), WATCHER_METRICS_PORT="none"))
    assert found == [
        f"the port {taken} is taken by another program; set INGEST_PORT to a free one",
        "WATCHER_METRICS_PORT=none is not a port between 1 and 65535",
    ]


def test_a_port_given_twice_is_told() -> None:
    """Two settings with one port are named, instead of one service failing later."""
    port = str(free_port())
    found = problems(ports(INGEST_PORT=port, NOTIFIER_METRICS_PORT=port))
    assert found == [f"INGEST_PORT and NOTIFIER_METRICS_PORT are both {port}"]


def test_with_a_mongodb_of_ones_own_its_port_does_not_matter(taken: int) -> None:
    """With MONGO_CONNECTION_STRING no mongod is started, so MONGO_PORT may be taken."""
    settings = ports(MONGO_PORT=str(taken), MONGO_CONNECTION_STRING="mongodb://db.example/?replicaSet=rs0")
    assert read_ports(settings).ingest == int(settings["INGEST_PORT"])


def test_real_variables_win_over_the_file_unless_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable wins over `.env`; an empty one counts as not set, as it does for the services."""
    (tmp_path / ".env").write_text("DATABASE_NAME=written\nCOLLECTION_NAME=written\nLOG_LEVEL=\n")
    monkeypatch.setenv("DATABASE_NAME", "set")
    monkeypatch.setenv("COLLECTION_NAME", "")
    read = read_settings(tmp_path / ".env")
    assert (read["DATABASE_NAME"], read["COLLECTION_NAME"]) == ("set", "written")
    assert "LOG_LEVEL" not in read


def test_without_a_file_the_environment_counts(tmp_path: Path) -> None:
    """A fresh clone has no `.env`: what is set is the environment."""
    assert read_settings(tmp_path / ".env") == {name: value for name, value in os.environ.items() if value}


def test_the_demo_does_not_see_this_machines_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection string or a key in the environment never reaches a system that starts from `machine`."""
    monkeypatch.setenv("MONGO_CONNECTION_STRING", "mongodb://production.example/?replicaSet=rs0")
    monkeypatch.setenv("API_KEYS", "shop:key")
    assert set(machine()) <= set(MACHINE)
    assert machine()["PATH"] == os.environ["PATH"]
