"""What the tests of database trouble share: three members, the three services, an origin and a receiver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest

from deploy.local.mongod import ReplicaSet
from tests.support import origin as origins
from tests.support.elections import Elections, three_members
from tests.support.origin import Origin, serve_origin
from tests.support.pictures import photo
from tests.support.processes import FAST, Service, services
from tests.support.receiver import Receiver, serve_receiver

IMAGES: Final = 120
"""More than one worker takes in hand (`loop.AHEAD`, and the rest of a batch), so both of two have some."""


@pytest.fixture(scope="package")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elections]:
    """Three members, for all tests of this folder."""
    with three_members(tmp_path_factory.mktemp("three")) as running:
        yield running


@pytest.fixture(scope="package")
def replica_set(shared: Elections) -> ReplicaSet:
    """The set that `environment` points to."""
    return shared.replica_set


@pytest.fixture
async def elections(shared: Elections) -> AsyncIterator[Elections]:
    """What may happen to the set; whoever was killed is there again at the end."""
    yield shared
    await shared.mend()


@pytest.fixture
async def system(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[dict[str, Service]]:
    """The three services on free ports, not started yet."""
    async with services({**environment, **FAST, "BATCH_IMAGES": "16"}, tmp_path) as made:
        yield made


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """An origin with one picture under each path."""
    picture = origins.body(photo(1))
    async with serve_origin({f"/{n}": picture for n in range(IMAGES)}) as serving:
        yield serving


@pytest.fixture
def urls(origin: Origin) -> list[str]:
    """The URLs of all pictures."""
    return [origin.url(f"/{n}") for n in range(IMAGES)]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A webhook receiver that answers 200."""
    async with serve_receiver() as serving:
        yield serving
