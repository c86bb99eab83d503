"""A batch in quarantine is no exception: while the image store refuses it rests, and MAX_CLAIMS is its end, too."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from imagepress.lifecycle import Stop
from imagepress.mongo import Database
from services.ingest.settings import IngestSettings
from services.watcher import image as images
from services.watcher import quarantine, queries
from services.watcher.settings import WatcherSettings
from services.watcher.worker import tools
from tests.conftest import MakeSettings
from tests.support import origin as origins
from tests.support.origin import serve_origin
from tests.support.pictures import photo
from tests.support.uploads import accepted

PATHS = ("/a", "/b")


async def _quarantined(
    database: Database, make_settings: MakeSettings, folder: Path, **settings: Any
) -> dict[str, Any]:
    """Work on a suspected batch of two images while the folder is gone; return what became of it."""
    watcher = make_settings(WatcherSettings, **settings)
    async with serve_origin({path: origins.body(photo(1)) for path in PATHS}) as origin, tools(watcher) as opened:
        await accepted(database, make_settings(IngestSettings), [origin.url(path) for path in PATHS])
        claimed = await queries.claim_batch(database, worker="w", seconds=60, from_turn=0)
        assert claimed is not None
        (folder / "images").rename(folder / "aside")
        (folder / "images").write_bytes(b"")
        await quarantine.work(watcher, opened, Stop(), claimed.id, claimed.token)
        assert [origin.count(path) for path in PATHS] == [1, 1]
    batch: dict[str, Any] | None = await database.batches.find_one({"_id": claimed.id})
    assert batch is not None
    return batch


async def test_a_batch_in_quarantine_rests_while_the_store_refuses(
    database: Database, make_settings: MakeSettings, tmp_path: Path
) -> None:
    """It is tried again later, every image of it, and no image is suspected of what the store did."""
    batch = await _quarantined(database, make_settings, tmp_path)
    assert (batch["status"], batch["lease"]["token"]) == ("processing", "resting")
    assert "suspect" not in batch
    assert [image.get("status") for row in batch["rows"] for image in row["images"]] == [None, None]


async def test_a_batch_in_quarantine_ends_when_the_store_stays_away(
    database: Database, make_settings: MakeSettings, tmp_path: Path
) -> None:
    """With MAX_CLAIMS used up its images fail as `storage`, and the request ends."""
    batch = await _quarantined(database, make_settings, tmp_path, max_claims=1)
    assert [image["error"]["code"] for row in batch["rows"] for image in row["images"]] == ["storage", "storage"]
    request = await database.requests.find_one()
    assert request is not None
    assert (request["status"], request["images"]["failed"]) == ("failed", 2)


async def test_a_death_after_the_last_image_accuses_none(
    database: Database, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the end of a batch is being written no image is suspected, and what was done of it stands."""

    class Died(Exception):
        """As far as the database can see."""

    async def dying(*_args: Any) -> None:
        raise Died

    monkeypatch.setattr(quarantine, "conclude", dying)
    watcher = make_settings(WatcherSettings)
    async with serve_origin({path: origins.body(photo(1)) for path in PATHS}) as origin, tools(watcher) as opened:
        await accepted(database, make_settings(IngestSettings), [origin.url(path) for path in PATHS])
        claimed = await queries.claim_batch(database, worker="w", seconds=60, from_turn=0)
        assert claimed is not None
        with pytest.raises(Died):
            await quarantine.work(watcher, opened, Stop(), claimed.id, claimed.token)
    batch = await database.batches.find_one({"_id": claimed.id})
    assert batch is not None
    assert (batch["status"], batch["suspect"]) == ("processing", None)
    assert [image["status"] for row in batch["rows"] for image in row["images"]] == ["succeeded", "succeeded"]


async def _suspected(database: Database, make_settings: MakeSettings, suspect: list[int]) -> tuple[dict[str, Any], int]:
    """Work on a batch of one image that others had written down; return the batch, and how often it was fetched."""
    watcher = make_settings(WatcherSettings)
    async with serve_origin({"/a": origins.body(photo(1))}) as origin, tools(watcher) as opened:
        await accepted(database, make_settings(IngestSettings), [origin.url("/a")])
        await database.batches.update_one({}, {"$set": {"suspect": suspect}})
        claimed = await queries.claim_batch(database, worker="w", seconds=60, from_turn=0)
        assert claimed is not None
        await quarantine.work(watcher, opened, Stop(), claimed.id, claimed.token)
    batch = await database.batches.find_one({"_id": claimed.id})
    assert batch is not None
    return batch, origin.count("/a")


@pytest.mark.parametrize(
    ("suspect", "outcome", "fetched"),
    [
        ([0, 0, 2, 11], "succeeded", 1),
        ([0, 0, 3, 3], "failed", 0),
        ([0, 0, 0, 12], "failed", 0),
        ([0, 0, 3], "failed", 0),  # by an earlier release
        ([7, 0, 3, 12], "succeeded", 1),  # another image
    ],
)
async def test_holders_that_were_gone_accuse_what_they_were_decoding(
    database: Database, make_settings: MakeSettings, suspect: list[int], outcome: str, fetched: int
) -> None:
    """Three in a row that were decoding it, or a dozen that were at it at all: it is not touched again."""
    batch, count = await _suspected(database, make_settings, suspect)
    image = batch["rows"][0]["images"][0]
    assert (image["status"], count) == (outcome, fetched)
    assert image.get("error", {}).get("code") == ("poison" if outcome == "failed" else None)


async def test_who_dies_while_fetching_is_not_counted_as_decoding(
    database: Database, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands written while an image is fetched accuses it less than what stands there while it is decoded."""
    seen: list[list[int]] = []

    async def watching(writer: asyncio.StreamWriter) -> bool:
        batch = await database.batches.find_one()
        assert batch is not None
        seen.append(batch["suspect"])
        return await origins.body(photo(1))(writer)

    def dying(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("as far as the database can see")

    monkeypatch.setattr(images, "compress", dying)
    watcher = make_settings(WatcherSettings)
    async with serve_origin({"/a": watching}) as origin, tools(watcher) as opened:
        await accepted(database, make_settings(IngestSettings), [origin.url("/a")])
        claimed = await queries.claim_batch(database, worker="w", seconds=60, from_turn=0)
        assert claimed is not None
        with pytest.raises(RuntimeError):
            await quarantine.work(watcher, opened, Stop(), claimed.id, claimed.token)
    batch = await database.batches.find_one()
    assert batch is not None
    assert (seen, batch["suspect"]) == ([[0, 0, 0, 1]], [0, 0, 1, 1])
