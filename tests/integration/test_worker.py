"""A worker in this process, on a real database: wake-ups, fenced writes, room for newcomers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from deploy.local.processes import eventually
from imagepress.blobs import Blobs
from imagepress.documents import ENDED, BatchStatus, ImageStatus
from imagepress.errors import DatabaseUnavailable
from imagepress.lifecycle import Stop
from imagepress.mongo import Database
from services.ingest.settings import IngestSettings
from services.watcher import outcome, queries
from services.watcher.batch import begin
from services.watcher.loop import Worker
from services.watcher.queries import Claimed, LeaseLost
from services.watcher.settings import WatcherSettings
from services.watcher.worker import READY, Bell, listen, tools
from tests.conftest import MakeSettings
from tests.support import origin as origins
from tests.support.origin import serve_origin
from tests.support.pictures import photo
from tests.support.uploads import accepted


async def _never(_batch: Claimed) -> None:
    raise AssertionError("no batch is to be isolated here")


@asynccontextmanager
async def _worker(
    database: Database, settings: WatcherSettings, *, before: Callable[[Worker], None] = lambda _: None
) -> AsyncIterator[Worker]:
    """Run a worker until the context ends."""
    stop = Stop()
    async with tools(settings) as opened:
        worker = Worker(database, settings, opened, _never, name="w", stop=stop)
        before(worker)
        running = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            stop.set()
            await running


def _has_ended(database: Database, request_id: str) -> Callable[[], Any]:
    async def has_ended() -> bool:
        return await database.requests.count_documents({"_id": request_id, "status": {"$in": ENDED}}) == 1

    return has_ended


def _vain_claims() -> float:
    return REGISTRY.get_sample_value("imagepress_claims_total", {"outcome": "nothing"}) or 0.0


async def test_a_claim_without_an_answer_is_asked_again(
    database: Database, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that was away for a moment costs a moment, not the time until the next sweep or wake-up."""
    claim, failed = queries.claim_batch, list[int]()

    async def fails_once(*args: Any, **kwargs: Any) -> Claimed | None:
        if not failed:
            failed.append(1)
            raise DatabaseUnavailable("away")
        return await claim(*args, **kwargs)

    settings = make_settings(WatcherSettings, sweep_seconds=600)
    async with serve_origin({"/a": origins.body(photo(1))}) as origin:
        request_id = await accepted(database, make_settings(IngestSettings), [origin.url("/a")])
        monkeypatch.setattr(queries, "claim_batch", fails_once)
        async with _worker(database, settings):
            await eventually(_has_ended(database, request_id), 10)
    assert failed


async def test_a_wake_up_during_a_claim_is_not_forgotten(
    database: Database, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that appears, and wakes, while a claim is finding nothing is claimed without waiting for a sweep."""
    claim, uploaded = queries.claim_batch, list[str]()
    workers: list[Worker] = []

    async def claims_too_early(*args: Any, **kwargs: Any) -> Claimed | None:
        found = await claim(*args, **kwargs)
        if not uploaded:
            uploaded.append(await accepted(database, make_settings(IngestSettings), [origin.url("/a")]))
            workers[0].wake(sweep=False)
        return found

    monkeypatch.setattr(queries, "claim_batch", claims_too_early)
    settings = make_settings(WatcherSettings, sweep_seconds=600)
    async with (
        serve_origin({"/a": origins.body(photo(1))}) as origin,
        _worker(database, settings, before=workers.append),
    ):

        async def uploaded_and_ended() -> bool:
            return bool(uploaded) and await _has_ended(database, uploaded[0])()

        await eventually(uploaded_and_ended, 10)


async def test_a_worker_that_lost_its_lease_changes_nothing(database: Database, make_settings: MakeSettings) -> None:
    """Completing, resting, giving back and noting outcomes under an old token match nothing, whatever was done."""
    settings = make_settings(WatcherSettings)
    await accepted(database, make_settings(IngestSettings), ["http://127.0.0.1:9/a"])
    late = await queries.claim_batch(database, worker="late", seconds=60, from_turn=0)
    assert late is not None
    await database.batches.update_one({"_id": late.id}, {"$set": {"status": "pending"}, "$unset": {"lease": ""}})
    now = await queries.claim_batch(database, worker="now", seconds=60, from_turn=0)
    assert now is not None
    before = await database.batches.find_one({"_id": late.id}), await database.requests.find_one()
    run = begin(late)
    for _, image in run.open_images():
        run.settle(image, {"status": "succeeded", "blob": "stolen", "bytes_in": 1, "bytes_out": 1})
    blobs = Blobs(settings.storage_url)
    with pytest.raises(LeaseLost):
        await outcome.conclude(database, run, blobs, settings)
    await outcome.give_back(database, run, blobs, settings)
    await queries.rest_batch(database, late, run.rows, run.progress(), seconds=5)
    await queries.note_outcomes(database, [(late, queries.outcome_fields(run.rows, run.progress()))])
    with pytest.raises(LeaseLost):
        await queries.note_suspect(database, late, [0, 0, 1], run.rows)
    assert await queries.keep_batches(database, late.held, seconds=60) == set()
    assert (await database.batches.find_one({"_id": late.id}), await database.requests.find_one()) == before


async def test_images_that_the_disk_may_have_lost_are_not_called_done(
    database: Database, make_settings: MakeSettings, tmp_path: Path
) -> None:
    """The folder cannot vouch for what was put into it: no document names it, and the batch rests for another try."""
    settings = make_settings(WatcherSettings)
    await accepted(database, make_settings(IngestSettings), ["http://127.0.0.1:9/a", "http://127.0.0.1:9/b"])
    claimed = await queries.claim_batch(database, worker="w", seconds=60, from_turn=0)
    assert claimed is not None
    blobs = Blobs(settings.storage_url)
    run = begin(claimed)
    (_, stored), (_, failed) = run.open_images()
    run.settle(stored, {"status": "succeeded", "blob": "r/a.jpg", "bytes_in": 1, "bytes_out": 1})
    run.settle(failed, {"status": "failed", "run": 1, "error": {"code": "http_404", "message": "gone"}})
    (tmp_path / "images").rename(tmp_path / "the disk before")
    (tmp_path / "images").mkdir()
    await outcome.conclude(database, run, blobs, settings)
    batch = await database.batches.find_one({"_id": claimed.id})
    assert batch is not None
    assert (batch["status"], batch["lease"]["token"]) == ("processing", "resting")
    assert [image.get("status") for row in batch["rows"] for image in row["images"]] == [None, "failed"]
    assert (batch["succeeded"], batch["failed"]) == (0, 1)


@asynccontextmanager
async def _full_of_a_giant(
    database: Database, make_settings: MakeSettings
) -> AsyncIterator[tuple[Worker, str, Callable[[], Awaitable[str]]]]:
    """Run a worker with both hands full of a giant whose host does not answer, and more of it pending.

    Yield the worker, the giant's id, and what uploads an image of another host.
    """
    gate = asyncio.Event()
    ingest = make_settings(IngestSettings, batch_images=16)
    settings = make_settings(WatcherSettings, fetch_concurrency=16, sweep_seconds=600)
    slow = origins.held(gate, origins.body(photo(1)))
    async with (
        serve_origin({f"/{n}": slow for n in range(200)}) as giants,
        serve_origin({"/small": origins.body(photo(2))}, host="127.0.0.2") as smalls,
        _worker(database, settings) as worker,
    ):
        giant = await accepted(database, ingest, [giants.url(f"/{n}") for n in range(200)])
        worker.wake(sweep=False)

        async def is_full() -> bool:
            held = await database.batches.count_documents({"status": BatchStatus.PROCESSING})
            return held == 6 and len(giants.requests) == settings.fetch_per_host  # 4 + 8 + 4 * 16 images

        await eventually(is_full)
        yield worker, giant, lambda: accepted(database, ingest, [smalls.url("/small", "127.0.0.2")])
        gate.set()


async def test_a_full_worker_has_room_for_a_newcomer(database: Database, make_settings: MakeSettings) -> None:
    """With both hands full of a giant whose host does not answer, a small upload is claimed and done at once."""
    async with _full_of_a_giant(database, make_settings) as (worker, giant, upload):
        small = await upload()
        worker.wake(sweep=True)  # which also makes the next claim start from the lowest turn
        await eventually(_has_ended(database, small), 10)
        open_ = await database.batches.count_documents({"request_id": giant, "status": BatchStatus.PENDING})
        assert open_ > 5, "the giant was not taken whole to get there"


async def test_images_that_end_make_room_for_the_next_batch(database: Database, make_settings: MakeSettings) -> None:
    """With 64 images left in hand there is none; one less, and the next batch is claimed beside the one in work."""
    gates = [asyncio.Event() for _ in range(3)]
    in_hand = 4 + 8 + 16 + 32 + 64
    parts = [0] * (in_hand - 64) + [1] + [2] * 150  # the batches but the last, the first image of that, the rest
    answers = {f"/{n}": origins.held(gates[part], origins.body(photo(1))) for n, part in enumerate(parts)}
    settings = make_settings(WatcherSettings, fetch_concurrency=64, fetch_per_host=200, sweep_seconds=600)
    async with serve_origin(answers) as origin, _worker(database, settings) as worker:
        await accepted(database, make_settings(IngestSettings), [origin.url(path) for path in answers])
        worker.wake(sweep=False)

        def holds(completed: int, processing: int) -> Callable[[], Awaitable[bool]]:
            async def holds() -> bool:
                statuses = [batch["status"] async for batch in database.batches.find({}, {"status": 1})]
                found = statuses.count(BatchStatus.COMPLETED), statuses.count(BatchStatus.PROCESSING)
                return found == (completed, processing)

            return holds

        await eventually(holds(0, 5), 10)
        gates[0].set()
        await eventually(holds(4, 1), 10)
        vain = _vain_claims()

        async def has_looked() -> bool:
            return _vain_claims() > vain

        worker.wake(sweep=True)
        await eventually(has_looked, 10)
        assert await holds(4, 1)(), "it has asked for another request's batch, and for no other"
        gates[1].set()
        await eventually(holds(4, 2), 10)
        gates[2].set()


async def test_a_newcomer_is_found_beyond_the_batches_that_other_workers_hold(
    database: Database, make_settings: MakeSettings
) -> None:
    """The largest batches of a giant take four turns each; three other workers hold one, and a newcomer comes after."""
    async with _full_of_a_giant(database, make_settings) as (worker, giant, upload):
        left = {"request_id": giant, "status": BatchStatus.PENDING}
        pending = [batch["_id"] async for batch in database.batches.find(left, {"_id": 1}).sort("turn", 1)]
        for place, batch in enumerate(pending, 1):  # as if each had 256 images
            await database.batches.update_one({"_id": batch}, {"$set": {"turn": worker._last_turn + 4 * place}})
        for _ in range(3):
            assert await queries.claim_batch(database, worker="other", seconds=60, from_turn=0)
        small = await upload()
        worker.wake(sweep=True)
        await eventually(_has_ended(database, small), 10)


async def test_a_url_in_several_batches_of_a_request_is_fetched_once(
    database: Database, make_settings: MakeSettings
) -> None:
    """While one batch is at a URL, the others of its request wait for that image, and store it at their own places."""
    gate = asyncio.Event()
    ingest = make_settings(IngestSettings, batch_images=4)
    settings = make_settings(WatcherSettings, sweep_seconds=600)
    async with (
        serve_origin({"/": origins.held(gate, origins.body(photo(1)))}) as origin,
        _worker(database, settings) as worker,
    ):
        request_id = await accepted(database, ingest, [origin.url("/")] * 12)
        worker.wake(sweep=False)

        async def all_claimed() -> bool:
            return await database.batches.count_documents({"status": BatchStatus.PROCESSING}) == 3

        await eventually(all_claimed)
        gate.set()
        await eventually(_has_ended(database, request_id), 10)
        assert len(origin.requests) == 1
        batches = await database.batches.find({"request_id": request_id}).to_list()
        images = [image for batch in batches for row in batch["rows"] for image in row["images"]]
        assert [image["status"] for image in images] == [ImageStatus.SUCCEEDED] * 12
        assert len({image["blob"] for image in images}) == 12
        for image in images:
            info = await Blobs(settings.storage_url).head(image["blob"])
            assert info.size == image["bytes_out"]


async def test_a_supervisor_that_dies_with_our_answer_unread_is_gone_like_any_other() -> None:
    """The worker stops in order, although the socket then says that the connection was reset."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    writer.write(READY)
    await writer.drain()
    theirs.close()
    stop = Stop()
    await listen(reader, Bell(), stop)
    assert stop.is_set
    writer.close()
