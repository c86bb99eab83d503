"""A batch in quarantine is no exception: while the image store refuses it rests, and MAX_CLAIMS is its end, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imagepress.lifecycle import Stop
from imagepress.mongo import Database
from services.ingest.settings import IngestSettings
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
