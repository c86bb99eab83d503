"""Removal is crash-safe: images, attempts, batches, then the request, so that whoever comes next can go on with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagepress.blobs import Blobs
from imagepress.mongo import Database
from services.ingest import command_queries, commands
from services.ingest.settings import IngestSettings
from services.watcher.settings import WatcherSettings
from services.watcher.sweep import Sweep
from tests.conftest import MakeSettings
from tests.support.stalling import until_stalled
from tests.support.uploads import accepted


async def _ended(database: Database, settings: IngestSettings, blobs: Blobs) -> str:
    """Make a request that has ended, with an image and an attempt."""
    request_id = await accepted(database, settings, ["http://127.0.0.1:9/a"])
    request = await database.requests.find_one({"_id": request_id})
    assert request is not None
    await commands.cancel(database, request)
    await blobs.put(f"{request_id}/a.jpg", b"one")
    await database.attempts.insert_one({"_id": f"{request_id}-1-1", "request_id": request_id})
    return request_id


async def _left(database: Database, folder: Path) -> dict[str, set[str]]:
    """Return the requests that something is left of, by what it is."""
    return {
        "images": {image.parent.name for image in (folder / "images").rglob("*.jpg")},
        "attempts": {row["request_id"] async for row in database.attempts.find()},
        "batches": {row["request_id"] async for row in database.batches.find()},
        "requests": {row["_id"] async for row in database.requests.find()},
    }


@pytest.mark.parametrize(
    ("writes", "left"),
    [pytest.param(0, {"batches", "requests"}, id="batches"), pytest.param(1, {"requests"}, id="request")],
)
async def test_a_removal_that_died_is_finished_by_the_next_sweep(
    database: Database, make_settings: MakeSettings, tmp_path: Path, writes: int, left: set[str]
) -> None:
    """An ingest dies once the request is marked, a sweep before the batches, or the request, have gone: all go yet."""
    ingest, watcher = make_settings(IngestSettings), make_settings(WatcherSettings)
    blobs = Blobs(watcher.storage_url)
    removed, kept = [await _ended(database, ingest, blobs) for _ in range(2)]
    await command_queries.mark_removed(database, removed)
    past = {"$dateSubtract": {"startDate": "$$NOW", "unit": "hour", "amount": 2}}
    await database.requests.update_one({"_id": removed}, [{"$set": {"removed_at": past}}])
    sweep = await until_stalled(database, lambda gated: Sweep(gated, blobs, watcher).run_once(), after=writes)
    assert sweep is not None
    await sweep.die()
    assert {what for what, ids in (await _left(database, tmp_path)).items() if removed in ids} == left
    await Sweep(database, blobs, watcher).run_once()
    assert list((await _left(database, tmp_path)).values()) == [{kept}] * 4
