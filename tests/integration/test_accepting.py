"""Rule 1: an upload is all or nothing, whichever step its process dies at."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest

from imagepress import transitions
from imagepress.blobs import Blobs
from imagepress.documents import BatchStatus
from imagepress.errors import TransientError
from imagepress.mongo import Database
from services.ingest import accepting, queries
from services.ingest.settings import IngestSettings
from services.watcher.settings import WatcherSettings
from services.watcher.sweep import Sweep
from tests.conftest import MakeSettings
from tests.support.uploads import accepted, csv_of, upload_of

URLS = [f"http://127.0.0.1:1/{n}.jpg" for n in range(300)]


async def _statuses(database: Database) -> set[str]:
    return set(await database.batches.distinct("status"))


async def test_an_accepted_upload_has_every_image_once_in_pending_batches(
    database: Database, make_settings: MakeSettings
) -> None:
    """After acceptance all batches can be claimed, sizes doubling from 4, and hold every URL once, in order."""
    request_id = await accepted(database, make_settings(IngestSettings), URLS)
    batches = [row async for row in database.batches.find({"request_id": request_id}).sort("_id", 1)]
    assert {batch["status"] for batch in batches} == {BatchStatus.PENDING}
    sizes = [sum(len(row["images"]) for row in batch["rows"]) for batch in batches]
    assert sizes[:5] == [4, 8, 16, 32, 64]
    urls = [image["url"] for batch in batches for row in batch["rows"] for image in row["images"]]
    assert urls == URLS
    turns = [batch["turn"] for batch in batches]
    assert turns == list(range(turns[0], turns[0] + len(batches)))


@pytest.mark.parametrize(
    "batches", [accepting.CHUNK - 1, accepting.CHUNK, accepting.CHUNK + 1, 3 * accepting.CHUNK + 5]
)
async def test_no_image_is_lost_between_two_chunks_of_batches(
    database: Database, make_settings: MakeSettings, batches: int
) -> None:
    """An upload of more batches than one insertion takes is stored whole: every URL once, no batch number missing."""
    urls = [f"http://127.0.0.1:1/{n}.jpg" for n in range(batches)]
    request_id = await accepted(database, make_settings(IngestSettings, batch_images=1), urls)
    stored = [row async for row in database.batches.find({"request_id": request_id}).sort("_id", 1)]
    assert [batch["seq"] for batch in stored] == list(range(batches))
    assert [image["url"] for batch in stored for row in batch["rows"] for image in row["images"]] == urls


async def test_an_upload_that_stalled_is_not_accepted(
    database: Database, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ingest that slept after staging refuses: the sweep may have deleted the batches as those of a dead one."""
    monkeypatch.setattr(queries, "COMMITTED_WITHIN", timedelta(seconds=-1))  # as if so much time had passed
    with pytest.raises(accepting.StagedTooLongAgo):
        await accepted(database, make_settings(IngestSettings), URLS)
    assert await database.batches.count_documents({}) == await database.requests.count_documents({}) == 0


async def test_an_upload_whose_images_do_not_add_up_is_not_accepted(
    database: Database, make_settings: MakeSettings
) -> None:
    """If other images were staged than were counted, the upload fails, and nothing of it stays."""
    settings = make_settings(IngestSettings)
    with pytest.raises(RuntimeError, match="2 images were staged of an upload that has 3"):
        await accepting.accept(database, upload_of(URLS[:3]), io.BytesIO(csv_of(URLS[:2])), settings)
    assert await database.batches.count_documents({}) == 0
    assert await database.requests.count_documents({}) == 0


async def test_what_was_staged_without_a_commit_is_deleted_after_an_hour(
    database: Database, make_settings: MakeSettings
) -> None:
    """Batches of an ingest that died before the commit cannot be claimed, and go once they are older than an hour."""
    settings = make_settings(IngestSettings)
    upload = upload_of(URLS)
    await accepting._stage(database, upload, io.BytesIO(csv_of(URLS)), settings.batch_images, None)
    sweep = Sweep(database, Blobs(make_settings(WatcherSettings).storage_url), make_settings(WatcherSettings))
    await sweep.run_once()
    assert await _statuses(database) == {BatchStatus.STAGED}
    an_hour = {"$dateSubtract": {"startDate": "$staged_at", "unit": "minute", "amount": 61}}
    await database.batches.update_many({}, [{"$set": {"staged_at": an_hour}}])
    await sweep.run_once()
    assert await database.batches.count_documents({}) == 0


async def test_a_commit_without_its_release_is_finished_by_the_sweep(
    database: Database, make_settings: MakeSettings
) -> None:
    """An ingest that died right after the commit has accepted: the sweep makes the batches claimable."""
    settings = make_settings(IngestSettings)
    upload = upload_of(URLS)
    await accepting._stage(database, upload, io.BytesIO(csv_of(URLS)), settings.batch_images, None)
    await queries.commit(database, upload)
    sweep = Sweep(database, Blobs(make_settings(WatcherSettings).storage_url), make_settings(WatcherSettings))
    await sweep.run_once()
    assert await _statuses(database) == {BatchStatus.STAGED}, "an ingest that is just busy is left alone"
    earlier = {"$dateSubtract": {"startDate": "$woken_at", "unit": "second", "amount": 6}}
    await database.requests.update_many({}, [{"$set": {"woken_at": earlier}}])
    await sweep.run_once()
    assert await _statuses(database) == {BatchStatus.PENDING}


async def test_a_release_that_stopped_half_way_is_finished(database: Database, make_settings: MakeSettings) -> None:
    """Some batches pending, some still staged: the request cannot end, and the next release takes the rest."""
    request_id = await accepted(database, make_settings(IngestSettings), URLS)
    await database.batches.update_many({"request_id": request_id}, {"$set": {"status": BatchStatus.COMPLETED}})
    last = await database.batches.find_one({"request_id": request_id}, sort=[("_id", -1)])
    assert last is not None
    await database.batches.update_one({"_id": last["_id"]}, {"$set": {"status": BatchStatus.STAGED}})
    assert await transitions.end_if_done(database, request_id, 1) is None
    assert await transitions.release(database, request_id, 1, turn_seconds=5) == 1


async def test_the_commit_can_be_repeated(database: Database, make_settings: MakeSettings) -> None:
    """A driver that repeats the commit after a lost answer finds it done; the first creation time stands."""
    settings = make_settings(IngestSettings)
    upload = upload_of(URLS[:3])
    await accepting._stage(database, upload, io.BytesIO(csv_of(URLS[:3])), settings.batch_images, None)
    await queries.commit(database, upload)
    first = await queries.find_request(database, upload.request_id)
    await queries.commit(database, upload)
    assert await queries.find_request(database, upload.request_id) == first


async def test_names_that_look_like_expressions_are_kept_as_they_are(
    database: Database, make_settings: MakeSettings
) -> None:
    """Rule 9: clients' text is never evaluated, neither when stored nor when released."""
    text = "S. No.,Product Name,Input Image Urls\n1,$price,http://h.example/$$NOW?a={$add}\n"
    upload = upload_of(["x"])
    await accepting.accept(database, upload, io.BytesIO(text.encode()), make_settings(IngestSettings))
    batch = await database.batches.find_one({"request_id": upload.request_id})
    assert batch is not None
    assert batch["rows"][0]["product_name"] == "$price"
    assert batch["rows"][0]["images"][0]["url"] == "http://h.example/$$NOW?a={$add}"


async def test_a_database_that_goes_away_while_staging_leaves_nothing_accepted(
    database: Database, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error before the commit is raised, and what was staged is deleted."""
    stage, calls = queries.stage, 0

    async def fails_at_second(*args: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise TransientError("away")
        await stage(*args)  # type: ignore[arg-type]  # passes on what it was given

    monkeypatch.setattr(queries, "stage", fails_at_second)
    monkeypatch.setattr(accepting, "CHUNK", 2)
    with pytest.raises(TransientError):
        await accepted(database, make_settings(IngestSettings), URLS)
    assert await database.batches.count_documents({}) == 0
    assert await database.requests.count_documents({}) == 0
