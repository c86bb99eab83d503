"""What the tests of the page share: the real system and a browser, started once, and an origin for each test.

All of it runs in one event loop, the session's, because a browser cannot be handed from one loop to another.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from deploy.local.mongod import ReplicaSet
from tests.conftest import fresh_environment
from tests.support import origin as origins
from tests.support.browser import Watched, browsing, launched
from tests.support.origin import Origin, serve_origin
from tests.support.pictures import photo
from tests.support.processes import FAST, Service, forget_all, services

PICTURES = 6


@pytest.fixture(scope="session")
def shared(replica_set: ReplicaSet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The settings of the system that all these tests share."""
    # As many images of one host at once as by default: some requests here are meant to take a while.
    return {**fresh_environment(replica_set, tmp_path_factory.mktemp("page")), **FAST, "FETCH_PER_HOST": "8"}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running(
    shared: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, Service]]:
    """The three services, running for the whole session."""
    async with services(shared, tmp_path_factory.mktemp("logs")) as made:
        await asyncio.gather(*(service.start() for service in made.values()))
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def system(running: dict[str, Service], shared: dict[str, str]) -> dict[str, Service]:
    """The three services, without any request of another test."""
    await forget_all(shared)
    return running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium."""
    async with launched() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def origin() -> AsyncIterator[Origin]:
    """An origin with pictures under /0.jpg to /5.jpg."""
    async with serve_origin({f"/{n}.jpg": origins.body(photo(n)) for n in range(PICTURES)}) as serving:
        yield serving


@pytest_asyncio.fixture(loop_scope="session")
async def watched(system: dict[str, Service], browser: Browser) -> AsyncIterator[Watched]:
    """A page of its own; at the end its console must have reported no error that the test did not take away."""
    async with browsing(browser, viewport={"width": 1280, "height": 860}) as opened:
        await opened.page.goto(system["ingest"].url)
        await opened.page.wait_for_selector("#home:not([hidden])")
        yield opened
        assert opened.errors == []
