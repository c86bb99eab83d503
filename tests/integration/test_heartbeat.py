"""What a worker writes down of the batches in its hands before it is done with them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from imagepress import transitions
from imagepress.blobs import Blobs
from imagepress.documents import BatchStatus
from imagepress.errors import StorageUnavailable
from imagepress.mongo import Database
from services.ingest.settings import IngestSettings
from services.watcher import outcome, queries
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
    for (_, image), became in zip(run.open_images(), outcomes, strict=False):
        run.settle(image, became)


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


def _another_disk(folder: Path) -> None:
    """Have another disk stand where images are stored."""
    folder.rename(folder.with_name("the disk before"))
    folder.mkdir()


async def test_outcomes_that_the_disk_may_have_lost_are_not_written_down(
    database: Database, make_settings: MakeSettings, tmp_path: Path
) -> None:
    """The folder cannot vouch for what was put into it, which is said once: then the batch is done again, and rests."""
    settings = make_settings(WatcherSettings)
    held = await _held(database, make_settings)
    blobs = Blobs(settings.storage_url)
    _another_disk(tmp_path / "images")
    _settle(held.run, [_stored(0), FAILED])
    for _ in range(2):  # the second time it would vouch for what is in the other folder
        await note_outcomes(database, {held.run.batch.token: held}, blobs)
        assert _statuses(await _batch(database)) == [None] * 4
    _settle(held.run, [_stored(2), _stored(3)])
    await outcome.conclude(database, held.run, blobs, settings)
    batch = await _batch(database)
    assert (batch["status"], batch["lease"]["token"]) == ("processing", "resting")
    assert _statuses(batch) == [None, "failed", None, None]


async def test_a_loss_that_another_batch_was_told_of_is_heard_by_all(
    database: Database, make_settings: MakeSettings, tmp_path: Path
) -> None:
    """A batch that concludes after somebody else's sync had failed does not complete with images from before that."""
    settings = make_settings(WatcherSettings)
    held = await _held(database, make_settings)
    blobs = Blobs(settings.storage_url)
    _settle(held.run, [_stored(n) for n in range(4)])
    _another_disk(tmp_path / "images")
    with pytest.raises(StorageUnavailable):
        await blobs.make_durable()
    await outcome.conclude(database, held.run, blobs, settings)
    batch = await _batch(database)
    assert (batch["status"], batch["lease"]["token"], batch["succeeded"]) == ("processing", "resting", 0)
    assert _statuses(batch) == [None] * 4


async def test_a_loss_leaves_alone_what_was_durable_before(
    database: Database, make_settings: MakeSettings, tmp_path: Path
) -> None:
    """Outcomes that were written down, with images that were safe then, are not worked for again."""
    settings = make_settings(WatcherSettings)
    held = await _held(database, make_settings)
    blobs = Blobs(settings.storage_url)
    _settle(held.run, [_stored(0), _stored(1)])
    await note_outcomes(database, {held.run.batch.token: held}, blobs)
    _settle(held.run, [_stored(2), _stored(3)])
    _another_disk(tmp_path / "images")
    await outcome.conclude(database, held.run, blobs, settings)
    assert _statuses(await _batch(database)) == ["succeeded", "succeeded", None, None]


async def test_a_batch_that_concludes_is_nobody_elses(
    database: Database, make_settings: MakeSettings, tmp_path: Path
) -> None:
    """A heartbeat whose sync fails while a batch writes its end changes nothing about that."""
    settings = make_settings(WatcherSettings)
    held = await _held(database, make_settings)
    blobs = Blobs(settings.storage_url)

    class Failing(Blobs):
        async def make_durable(self) -> None:
            held.concluding = True  # its last image came meanwhile
            await blobs.make_durable()
            _another_disk(tmp_path / "images")
            await super().make_durable()

    _settle(held.run, [_stored(n) for n in range(4)])
    await note_outcomes(database, {held.run.batch.token: held}, Failing(settings.storage_url))
    await queries.complete_batch(database, held.run.batch, held.run.rows, held.run.progress())
    batch = await _batch(database)
    assert (batch["status"], batch["succeeded"], _statuses(batch)) == ("completed", 4, ["succeeded"] * 4)


async def test_a_cancelled_retry_leaves_why_images_had_failed_before(
    database: Database, make_settings: MakeSettings
) -> None:
    """What a retry had not come to yet stays as the run before had left it, whether or not a heartbeat came by."""
    held = await _held(database, make_settings)
    _settle(held.run, [_stored(0), FAILED, FAILED, FAILED])
    await queries.complete_batch(database, held.run.batch, held.run.rows, held.run.progress())
    again = {"status": BatchStatus.PENDING, "run": 2, "claims": 0}
    await database.batches.update_one({}, {"$set": again, "$unset": {"lease": ""}})
    second = await _claimed(database)
    _settle(second.run, [_stored(1)])
    await note_outcomes(database, {second.run.batch.token: second}, Blobs(make_settings(WatcherSettings).storage_url))
    await transitions.fence_batches(database, second.run.batch.request_id, 2)
    batch = await _batch(database)
    assert _statuses(batch) == ["succeeded", "succeeded", "failed", "failed"]
    assert (batch["succeeded"], batch["failed"]) == (2, 2)


async def _without_end() -> None:
    await asyncio.Event().wait()


async def test_work_on_a_cancelled_request_ends_at_the_next_heartbeat(
    database: Database, make_settings: MakeSettings
) -> None:
    """What is done is written down first; then its worker fetches no more of it."""
    held = await _held(database, make_settings)
    held.task = asyncio.create_task(_without_end())
    _settle(held.run, [_stored(0)])
    blobs = Blobs(make_settings(WatcherSettings).storage_url)
    await note_outcomes(database, {held.run.batch.token: held}, blobs)
    assert not held.task.cancelling()
    await database.requests.update_one({}, {"$set": {"cancelling": True}})
    _settle(held.run, [_stored(1)])
    await note_outcomes(database, {held.run.batch.token: held}, blobs)
    assert held.task.cancelling()
    assert _statuses(await _batch(database)) == ["succeeded", "succeeded", None, None]


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
