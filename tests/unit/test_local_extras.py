"""What the lock file of a service is made from: its extra, and nothing of the client library's."""

from __future__ import annotations

import tomllib

import pytest

from deploy.local.extras import requirements
from tests.support.processes import ROOT

EXTRAS = {
    "core": ["motor>=3", "uvloop; sys_platform != 'win32'"],
    "web": ["imagepress[core]", "fastapi>=0.135"],
    "all": ["imagepress[web,core]", "rich"],
}


def test_extras_of_our_own_are_replaced_by_what_they_ask_for() -> None:
    """However deep, lines stay as they are written, markers and bounds included."""
    core = EXTRAS["core"]
    assert list(requirements(EXTRAS, "web")) == [*core, "fastapi>=0.135"]
    assert list(requirements(EXTRAS, "all")) == [*core, *core, "fastapi>=0.135", "rich"]
    with pytest.raises(KeyError):
        list(requirements(EXTRAS, "none"))


@pytest.mark.parametrize("service", ["ingest", "watcher", "notifier"])
def test_a_service_locks_nothing_that_only_the_client_library_needs(service: str) -> None:
    """What its extra names is locked, and the dependencies of the bare package are not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = {line.partition("==")[0] for line in (ROOT / f"deploy/locks/{service}.txt").read_text().splitlines()}
    named = {line.partition(">")[0] for line in requirements(project["optional-dependencies"], service)}
    assert named <= locked
    assert locked.isdisjoint(line.partition(">")[0] for line in project["dependencies"])
