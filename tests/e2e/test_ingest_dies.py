"""Rule 1 with real kills: an ingest that dies at any step of an upload has accepted all of it or nothing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from imagepress.mongo import Database
from tests.support import origin as origins
from tests.support.origin import Origin, serve_origin
from tests.support.pictures import photo
from tests.support.processes import FAST, Service, eventually, services
from tests.support.uploads import csv_of

IMAGES = 60


@pytest.fixture
async def system(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[dict[str, Service]]:
    """Ingest and watcher, not started yet."""
    async with services({**environment, **FAST, "BATCH_IMAGES": "8"}, tmp_path) as made:
        yield made


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """An origin with one picture under many paths."""
    picture = origins.body(photo(1))
    async with serve_origin({f"/{n}": picture for n in range(IMAGES)}) as serving:
        yield serving


@pytest.mark.parametrize(
    ("step", "accepted"),
    [
        ("after the first chunk", False),
        ("before the commit", False),
        ("after the commit", True),
        ("in the release", True),
        ("after the release", True),
    ],
)
async def test_an_upload_is_all_or_nothing(
    system: dict[str, Service], origin: Origin, database: Database, step: str, accepted: bool
) -> None:
    """Killed before the commit: no request, ever. Killed after it: every image of it is processed."""
    await asyncio.gather(
        system["watcher"].start(), system["ingest"].spawn(sys.executable, "-m", "tests.support.dying_ingest", step)
    )
    await system["ingest"].until_ready()
    content = csv_of([origin.url(f"/{n}") for n in range(IMAGES)])
    async with httpx.AsyncClient(base_url=system["ingest"].url, timeout=60) as client:
        with pytest.raises(httpx.TransportError):
            await client.post("/api/upload", files={"file": ("c.csv", content)})
    assert await system["ingest"].process.wait() == -9

    if not accepted:
        assert await database.batches.count_documents({"status": "staged"}) > 0
        await _age_everything(database)

        async def gone() -> bool:
            return await database.batches.count_documents({}) == 0

        await eventually(gone)
        assert await database.requests.count_documents({}) == 0
        assert origin.requests == []
        return

    await _age_everything(database)

    async def completed() -> bool:
        return await database.requests.count_documents({"status": "completed"}) == 1

    await eventually(completed)
    request = await database.requests.find_one()
    assert request is not None
    assert request["images"] == {"total": IMAGES, "succeeded": IMAGES, "failed": 0}


async def _age_everything(database: Database) -> None:
    """Let the grace periods pass (an hour, and five seconds) without waiting for them."""
    past = {"$dateSubtract": {"startDate": "$$NOW", "unit": "hour", "amount": 2}}
    await database.batches.update_many({"status": "staged"}, [{"$set": {"staged_at": past}}])
    await database.requests.update_many({}, [{"$set": {"woken_at": past}}])
