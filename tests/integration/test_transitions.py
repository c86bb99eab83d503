"""Rule 4: a run of a request ends exactly once, with totals from a recount; rule 6: turns."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from imagepress import transitions
from imagepress.blobs import Blobs
from imagepress.documents import BatchStatus, RequestStatus, WebhookState
from imagepress.mongo import Database, server_time
from services.ingest import command_queries
from services.ingest.settings import IngestSettings
from services.watcher.settings import WatcherSettings
from services.watcher.sweep import Sweep
from tests.conftest import MakeSettings
from tests.support.uploads import accepted

URLS = [f"http://127.0.0.1:1/{n}.jpg" for n in range(12)]  # two batches, of 4 and of 8
HOOK = "http://127.0.0.1:9/hook"


async def _complete(database: Database, request_id: str, *, succeeded: int, failed: int) -> None:
    counts = {"succeeded": succeeded, "failed": failed, "bytes_in": 100, "bytes_out": 10}
    await database.batches.update_many(
        {"request_id": request_id}, {"$set": {"status": BatchStatus.COMPLETED, **counts}}
    )


async def _request(database: Database, request_id: str) -> dict[str, Any]:
    found = await database.requests.find_one({"_id": request_id})
    assert found is not None
    return found


async def test_a_request_with_an_open_batch_does_not_end(database: Database, make_settings: MakeSettings) -> None:
    """As long as one batch is pending, processing or staged, nobody can end the request."""
    request_id = await accepted(database, make_settings(IngestSettings), URLS)
    await _complete(database, request_id, succeeded=6, failed=0)
    for status in (BatchStatus.PENDING, BatchStatus.PROCESSING, BatchStatus.STAGED):
        await database.batches.update_one({"request_id": request_id}, {"$set": {"status": status}})
        assert await transitions.end_if_done(database, request_id, 1) is None
    assert (await _request(database, request_id))["status"] == RequestStatus.PENDING


async def test_many_enders_end_a_run_once(database: Database, make_settings: MakeSettings) -> None:
    """Of many that try at once one ends the run: recounted totals, the time and the due webhook come together."""
    request_id = await accepted(database, make_settings(IngestSettings), URLS, webhook_url=HOOK)
    await database.requests.update_one({"_id": request_id}, {"$set": {"images.succeeded": 999}})
    await _complete(database, request_id, succeeded=5, failed=1)
    ended = await asyncio.gather(*(transitions.end_if_done(database, request_id, 1) for _ in range(8)))
    assert [end for end in ended if end] == [transitions.Ended(RequestStatus.COMPLETED, 10, 2)]
    request = await _request(database, request_id)
    assert request["images"] == {"total": 12, "succeeded": 10, "failed": 2}
    assert request["bytes"] == {"input": 200, "output": 20}
    assert request["webhook"]["state"] == WebhookState.DUE
    assert request["webhook"]["next_attempt_at"] == request["ended_at"] == request["woken_at"]


@pytest.mark.parametrize(("succeeded", "status"), [(0, RequestStatus.FAILED), (1, RequestStatus.COMPLETED)])
async def test_one_success_makes_a_request_completed(
    database: Database, make_settings: MakeSettings, succeeded: int, status: RequestStatus
) -> None:
    """A request has failed only if none of its images succeeded; without a webhook URL no webhook appears."""
    request_id = await accepted(database, make_settings(IngestSettings), URLS)
    await _complete(database, request_id, succeeded=succeeded, failed=2)
    assert await transitions.end_if_done(database, request_id, 1)
    request = await _request(database, request_id)
    assert request["status"] == status
    assert "webhook" not in request


async def test_an_ender_that_stalls_cannot_end_the_next_run(database: Database, make_settings: MakeSettings) -> None:
    """Whoever still believes in run 1 changes nothing once the client has opened run 2."""
    request_id = await accepted(database, make_settings(IngestSettings), URLS)
    await _complete(database, request_id, succeeded=6, failed=0)
    await database.requests.update_one({"_id": request_id}, {"$set": {"run": 2}})
    assert await transitions.end_if_done(database, request_id, 1) is None
    assert (await _request(database, request_id))["status"] == RequestStatus.PENDING


async def test_a_cancelled_request_ends_as_cancelled(database: Database, make_settings: MakeSettings) -> None:
    """Where the client asked to cancel, the end is `cancelled`, whatever succeeded before."""
    request_id = await accepted(database, make_settings(IngestSettings), URLS)
    await _complete(database, request_id, succeeded=6, failed=0)
    await database.requests.update_one({"_id": request_id}, {"$set": {"cancelling": True}})
    ended = await transitions.end_if_done(database, request_id, 1)
    assert ended == transitions.Ended(RequestStatus.CANCELLED, 12, 0)


async def test_the_sweep_finishes_a_cancellation_that_its_ingest_has_left(
    database: Database, make_settings: MakeSettings
) -> None:
    """For five seconds the ingest, which lets workers write down what they have done, is left alone with it."""
    settings = make_settings(WatcherSettings)
    request_id = await accepted(database, make_settings(IngestSettings), URLS)
    assert await command_queries.ask_to_cancel(database, request_id, 1)
    sweep = Sweep(database, Blobs(settings.storage_url), settings)
    await sweep.run_once()
    assert (await _request(database, request_id))["status"] == RequestStatus.PENDING
    long_ago = {"$dateSubtract": {"startDate": "$$NOW", "unit": "second", "amount": 6}}
    # However often the request is woken: by its leases, which run out since nobody works on it any more.
    woken = {"$set": {"woken_at": "$$NOW", "cancelling_since": long_ago}}
    await database.requests.update_one({"_id": request_id}, [woken])
    await sweep.run_once()
    assert (await _request(database, request_id))["status"] == RequestStatus.CANCELLED


async def test_a_newcomer_gets_the_turn_of_what_waits_at_the_front(
    database: Database, make_settings: MakeSettings
) -> None:
    """Beside a giant that is half done, the first batch of a small upload has the turn of the giant's next batch."""
    settings = make_settings(IngestSettings, batch_images=4, turn_seconds=3600)
    giant = await accepted(database, settings, [f"http://127.0.0.1:1/{n}" for n in range(400)])
    done = {"request_id": giant, "seq": {"$lt": 50}}
    await database.batches.update_many(done, {"$set": {"status": BatchStatus.COMPLETED, "claims": 1}})
    small = await accepted(database, settings, URLS[:8])
    giants_next = await database.batches.find_one({"request_id": giant, "seq": 50})
    smalls = [row["turn"] async for row in database.batches.find({"request_id": small}).sort("_id", 1)]
    assert giants_next is not None
    assert smalls == [giants_next["turn"], giants_next["turn"] + 1]


async def test_turns_never_fall_behind_the_clock(database: Database, make_settings: MakeSettings) -> None:
    """With nothing waiting, turns start at the server's time in units of TURN_SECONDS."""
    request_id = await accepted(database, make_settings(IngestSettings, turn_seconds=5), URLS)
    first = await database.batches.find_one({"request_id": request_id, "seq": 0})
    now = (await server_time(database)).timestamp() / 5
    assert first is not None
    assert now - 3 < first["turn"] <= now


async def test_looking_for_open_batches_and_recounting_read_the_index_only(
    database: Database, make_settings: MakeSettings
) -> None:
    """The questions asked at the end of a request are covered: no batch document is read, however many there are."""
    request_id = await accepted(database, make_settings(IngestSettings, batch_images=4), URLS * 20)
    sums = {name: {"$sum": f"${name}"} for name in ("succeeded", "failed", "bytes_in", "bytes_out")}
    plan = await database.batches.database.command(
        "explain",
        {
            "aggregate": database.batches.name,
            "pipeline": [{"$match": {"request_id": request_id}}, {"$group": {"_id": None, **sums}}],
            "hint": "recount",
            "cursor": {},
        },
        verbosity="executionStats",
    )
    assert '"totalDocsExamined": 0' in str(plan).replace("'", '"')
