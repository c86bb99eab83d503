"""The image store refuses: batches rest and are tried again, and an image fails only when MAX_CLAIMS is used up."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from imagepress.mongo import Database
from tests.bench.system import children_of
from tests.support import origin as origins
from tests.support import refusing
from tests.support.calls import status_of, until_ended, upload
from tests.support.midway import hold_back, until_done
from tests.support.origin import Origin, serve_origin
from tests.support.outages import Outages
from tests.support.pictures import photo
from tests.support.processes import FAST, Service, eventually, services
from tests.support.refusing import Store
from tests.support.uploads import csv_of

IMAGES: Final = 20
EARLY: Final = 4
"""Images of the first batch: stored before the trouble begins."""


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """An origin with small pictures, stored before the trouble, and large ones."""
    small, large = origins.body(photo(1)), origins.body(photo(2, size=(1600, 1200)))
    async with serve_origin({f"/{n}": small if n < EARLY else large for n in range(IMAGES)}) as serving:
        yield serving


@pytest.fixture(
    params=[
        pytest.param(refusing.folder_that_goes, id="the folder is gone"),
        pytest.param(refusing.folder_that_denies, id="the folder denies access"),
        pytest.param(refusing.disk_that_is_full, id="the disk is full"),
        pytest.param(refusing.object_store_that_denies, id="the object store denies access"),
        pytest.param(refusing.object_store_that_is_away, id="the object store is away"),
    ]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store, which will refuse."""
    kind: Callable[[Path], AbstractContextManager[Store]] = request.param
    with kind(tmp_path) as made:
        yield made


async def _start(service: Service, store: Store) -> None:
    await service.spawn(*store.enter, sys.executable, "-m", f"services.{service.name}")
    await service.until_ready()


async def _begin(system: dict[str, Service], origin: Origin, store: Store) -> tuple[str, asyncio.Event]:
    """Start ingest and watcher and upload; return the request id, with `EARLY` images stored, and the others' gate.

    Where the store forgets what it has, none is stored.
    """
    early = 0 if store.forgets else EARLY
    await asyncio.gather(*(_start(system[name], store) for name in ("ingest", "watcher")))
    gate = hold_back(origin, range(early, IMAGES))
    request_id = await upload(system["ingest"], csv_of([origin.url(f"/{n}") for n in range(IMAGES)]))
    await until_done(system["ingest"], request_id, early)
    await origin.reached(lambda seen: seen.open_now > 0, seconds=20)
    return request_id, gate


async def _until_resting(database: Database, request_id: str) -> None:
    async def resting() -> bool:
        return await database.batches.find_one({"request_id": request_id, "lease.resting": True}) is not None

    await eventually(resting)


async def _readable(status: dict[str, Any]) -> int:
    """Return how many of a request's links lead to an image."""
    links = [link for row in status["details"] for link in row["output_image_urls"] if link]
    async with httpx.AsyncClient(follow_redirects=True) as client:
        answers = [await client.get(link) for link in links]
    return sum(answer.headers["content-type"] == "image/jpeg" for answer in answers)


async def test_batches_rest_while_the_store_refuses_and_succeed_when_it_is_back(
    environment: dict[str, str], database: Database, origin: Origin, store: Store, tmp_path: Path
) -> None:
    """In the middle of a request the store refuses, then is back: every image succeeds, and no process died of it."""
    async with services({**environment, **FAST, **store.environment}, tmp_path) as system:
        request_id, gate = await _begin(system, origin, store)
        workers = children_of(system["watcher"].process.pid)
        outages = Outages.from_now(tmp_path)
        with store.refusing():
            gate.set()
            await _until_resting(database, request_id)
            assert (await status_of(system["ingest"], request_id))["status"] == "processing"
        status = await until_ended(system["ingest"], request_id)
        assert status["status"] == "completed"
        assert status["images"] == {"total": IMAGES, "succeeded": IMAGES, "failed": 0}
        assert await _readable(status) == IMAGES
        assert workers == children_of(system["watcher"].process.pid)
        said = [told for (_, part), told in outages.said().items() if part == "storing images"]
        assert [True, False] in said
        # Once in each process, not for each image; one that has nothing to store afterwards does not see the end.
        assert all(told in ([True], [True, False]) for told in said)


async def test_images_fail_with_the_reason_when_the_store_stays_away(
    environment: dict[str, str], origin: Origin, store: Store, tmp_path: Path
) -> None:
    """With MAX_CLAIMS used up the rest fails as `storage`, the request ends, and what was stored before stays."""
    early = 0 if store.forgets else EARLY
    async with services({**environment, **FAST, **store.environment, "MAX_CLAIMS": "2"}, tmp_path) as system:
        request_id, gate = await _begin(system, origin, store)
        with store.refusing():
            gate.set()
            status = await until_ended(system["ingest"], request_id)
        assert status["status"] == ("completed" if early else "failed")
        assert status["images"] == {"total": IMAGES, "succeeded": early, "failed": IMAGES - early}
        errors = [error for row in status["details"] for error in row["errors"]]
        assert [error["code"] for error in errors] == ["storage"] * (IMAGES - early)
        assert {error["message"].rpartition("because: ")[2] for error in errors} == {store.reason}
        assert str(tmp_path) not in str(status)
        assert await _readable(status) == early
        assert max(origin.count(f"/{n}") for n in range(IMAGES)) == 2  # a try for each of MAX_CLAIMS, no more
