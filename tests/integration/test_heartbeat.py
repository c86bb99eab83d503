"""What a worker writes down of the batches in its hands before it is done with them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from imagepress import transitions
from imagepress.blobs import Blobs
from imagepress.documents import BatchStatus
from imagepress.mongo import Database
from services.ingest.settings import IngestSettings
from services.watcher import queries
from services.watcher.batch import BatchRun, begin
from services.watcher.heartbeat import Held, note_outcomes
from services.watcher.settings import WatcherSettings
from tests.conftest import MakeSettings
from tests.support.uploads import accepted

URLS = [f"http://127.0.0.1:9/{n}" for n in range(4)]
FAILED = {"status": "failed", "run": 1, "error": {"code": "http_404", "message": "gone"}}


def _stored(n: int) -> dict[str, Any]:
    return {"status": "succeeded", "blob": f"r/{n}.jpg", "bytes_in": 10, "bytes_out": 5}


async def _held(database: Database, make_settings: MakeSettings) -> Held:
    """Claim the one batch of a new upload of four images."""
    await accepted(database, make_settings(IngestSettings), URLS)
    return await _claimed(database)


async def _claimed(database: Database) -> Held:
    claimed = await queries.claim_batch(database, worker="w", seconds=60, from_turn=0)
    assert claimed is not None
    run = begin(claimed)
    return Held(run, asyncio.create_task(asyncio.sleep(0)), noted=run.progress())


def _settle(run: BatchRun, outcomes: list[dict[str, Any]]) -> None:
    for (_, image), outcome in zip(run.open_images(), outcomes, strict=False):
        run.settle(image, outcome)


async def _batch(database: Database) -> dict[str, Any]:
    batch = await database.batches.find_one()
    assert batch is not None
    return batch


def _statuses(batch: dict[str, Any]) -> list[str | None]:
    return [image.get("status") for row in batch["rows"] for image in row["images"]]


async def test_a_cancellation_leaves_what_had_been_done_of_a_batch(
    database: Database, make_settings: MakeSettings
) -> None:
    """A batch that is taken from its worker keeps the outcomes of the last heartbeat, and counts just those."""
    held = await _held(database, make_settings)
    blobs = Blobs(make_settings(WatcherSettings).storage_url)
    _settle(held.run, [_stored(0), FAILED])
    await note_outcomes(database, {held.run.batch.token: held}, blobs)
    batch = await _batch(database)
    assert batch["status"] == BatchStatus.PROCESSING
    assert (batch["succeeded"], batch["failed"], batch["bytes_in"], batch["bytes_out"]) == (1, 1, 10, 5)
    _settle(held.run, [_stored(2)])  # since the heartbeat
    await transitions.fence_batches(database, held.run.batch.request_id, 1)
    batch = await _batch(database)
    assert _statuses(batch) == ["succeeded", "failed", None, None]
    assert (batch["succeeded"], batch["failed"], batch["bytes_in"], batch["bytes_out"]) == (1, 1, 10, 5)
    await note_outcomes(database, {held.run.batch.token: held}, blobs)
    assert await _batch(database) == batch, "its worker has lost it"


async def test_who_claims_a_dead_workers_batch_goes_on_where_its_heartbeat_ended(
    database: Database, make_settings: MakeSettings
) -> None:
    """An outcome that was written down is not worked for again."""
    held = await _held(database, make_settings)
    _settle(held.run, [_stored(0), _stored(1), FAILED])
    await note_outcomes(database, {held.run.batch.token: held}, Blobs(make_settings(WatcherSettings).storage_url))
    await database.batches.update_one({}, {"$set": {"status": BatchStatus.PENDING}, "$unset": {"lease": ""}})
    again = await _claimed(database)
    assert [image["url"] for _, image in again.run.open_images()] == [URLS[3]]


async def test_a_batch_without_news_is_left_as_it_is(database: Database, make_settings: MakeSettings) -> None:
    """What the database knows is not written again: over a batch in quarantine it would be older than what is there."""
    held = await _held(database, make_settings)
    blobs = Blobs(make_settings(WatcherSettings).storage_url)
    _settle(held.run, [_stored(0)])
    await note_outcomes(database, {held.run.batch.token: held}, blobs)
    await database.batches.update_one({}, {"$set": {"status": BatchStatus.PENDING}, "$unset": {"lease": ""}})
    suspected = await _claimed(database)
    newer = begin(suspected.run.batch)  # as the process of its own has it
    rows = newer.copied_rows()
    rows[1]["images"][0] |= _stored(1)
    await queries.note_suspect(database, suspected.run.batch, [2, 0, 1], rows)
    await note_outcomes(database, {suspected.run.batch.token: suspected}, blobs)
    assert _statuses(await _batch(database)) == ["succeeded", "succeeded", None, None]


async def test_outcomes_that_the_disk_may_have_lost_are_not_written_down(
    database: Database, make_settings: MakeSettings, tmp_path: Path
) -> None:
    """The folder cannot vouch for what was put into it: its images are open again, and the batch goes on."""
    held = await _held(database, make_settings)
    blobs = Blobs(make_settings(WatcherSettings).storage_url)
    (tmp_path / "images").rename(tmp_path / "the disk before")
    (tmp_path / "images").mkdir()
    _settle(held.run, [_stored(0), FAILED])
    await note_outcomes(database, {held.run.batch.token: held}, blobs)
    assert _statuses(await _batch(database)) == [None] * 4
    assert held.run.left == 3
    await note_outcomes(database, {held.run.batch.token: held}, blobs)
    assert _statuses(await _batch(database)) == [None, "failed", None, None]


async def test_what_is_stored_while_the_disk_is_asked_waits_for_the_next_heartbeat(
    database: Database, make_settings: MakeSettings
) -> None:
    """Nothing is written down for which the folder was not asked; counts and rows are of the same moment."""
    held = await _held(database, make_settings)

    class Slow(Blobs):
        async def make_durable(self) -> None:
            _settle(held.run, [_stored(1)])
            await super().make_durable()

    _settle(held.run, [_stored(0)])
    slow = Slow(make_settings(WatcherSettings).storage_url)
    await note_outcomes(database, {held.run.batch.token: held}, slow)
    batch = await _batch(database)
    assert (_statuses(batch), batch["succeeded"]) == (["succeeded", None, None, None], 1)
    await note_outcomes(database, {held.run.batch.token: held}, slow)
    batch = await _batch(database)
    assert (_statuses(batch), batch["succeeded"]) == (["succeeded", "succeeded", None, None], 2)
