"""What the tests of the page share: the real system, an origin with pictures, and a browser on the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import origin as origins
from tests.support.browser import Watched, browsing
from tests.support.origin import Origin, serve_origin
from tests.support.pictures import photo
from tests.support.processes import FAST, Service, services

PICTURES = 6


@pytest.fixture
async def system(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[dict[str, Service]]:
    """The three services, running."""
    # As many images of one host at once as by default: some requests here are meant to take a while. The status counts
    # whole batches: small ones let the counts move as often as those of many watchers do.
    settings = {**environment, **FAST, "FETCH_PER_HOST": "8", "BATCH_IMAGES": "16"}
    async with services(settings, tmp_path) as made:
        await asyncio.gather(*(service.start() for service in made.values()))
        yield made


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """An origin with pictures under /0.jpg to /5.jpg."""
    async with serve_origin({f"/{n}.jpg": origins.body(photo(n)) for n in range(PICTURES)}) as serving:
        yield serving


@pytest.fixture
async def watched(system: dict[str, Service]) -> AsyncIterator[Watched]:
    """A browser on the page; at the end its console must have reported no error that the test did not take away."""
    async with browsing(viewport={"width": 1280, "height": 860}, accept_downloads=True) as opened:
        await opened.page.goto(system["ingest"].url)
        await opened.page.wait_for_selector("#home:not([hidden])")
        yield opened
        assert opened.errors == []
