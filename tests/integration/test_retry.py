"""A retry is all or nothing, like an upload: staged, committed, released; what is never committed is put back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from imagepress.documents import BatchStatus, RequestStatus, WebhookState
from imagepress.mongo import Database, server_time
from services.ingest import command_queries, commands
from services.ingest.settings import IngestSettings
from services.watcher import sweep_queries
from tests.conftest import MakeSettings
from tests.support.uploads import accepted

URLS = [f"http://127.0.0.1:1/{n}.jpg" for n in range(12)]  # two batches, of 4 and of 8
HOOK = "http://127.0.0.1:9/hook"

Document = dict[str, Any]


async def _cancelled(database: Database, make_settings: MakeSettings) -> str:
    """Make a request that was cancelled after its first batch, in which every image had failed."""
    request_id = await accepted(database, make_settings(IngestSettings), URLS, webhook_url=HOOK)
    first = {"request_id": request_id, "seq": 0}
    failed = {"rows.$[].images.$[].status": "failed", "failed": 4, "status": BatchStatus.COMPLETED}
    await database.batches.update_one(first, {"$set": failed})
    await commands.cancel(database, await _request(database, request_id))
    return request_id


async def _request(database: Database, request_id: str) -> Document:
    found = await database.requests.find_one({"_id": request_id})
    assert found is not None
    return found


async def _batches(database: Database) -> list[tuple[int, str, int, int]]:
    """Return run, status and counts of every batch, in the order of the file."""
    rows = database.batches.find().sort("_id", 1)
    return [(row["run"], row["status"], row["succeeded"], row["failed"]) async for row in rows]


async def _long_ago(database: Database) -> datetime:
    return await server_time(database) - timedelta(hours=2)


async def test_a_retry_that_was_never_committed_is_put_back_as_it_was(
    database: Database, make_settings: MakeSettings
) -> None:
    """An ingest dies after staging: an hour later completed batches are completed again, cancelled ones cancelled."""
    request_id = await _cancelled(database, make_settings)
    before = await _batches(database)
    assert [status for _, status, _, _ in before] == [BatchStatus.COMPLETED, BatchStatus.CANCELLED]
    assert await command_queries.stage_failed(database, request_id, 2, await _long_ago(database)) == len(URLS)
    assert {status for _, status, _, _ in await _batches(database)} == {BatchStatus.STAGED}
    assert await sweep_queries.delete_orphans(database, limit=10) == 0
    assert await _batches(database) == before
    assert await database.batches.count_documents({"staged_from": {"$exists": True}}) == 0


async def test_a_second_try_keeps_what_the_first_one_staged_from_the_sweep(
    database: Database, make_settings: MakeSettings
) -> None:
    """The client tries again after an hour: the sweep leaves alone what is staged, and all of it runs."""
    request_id = await _cancelled(database, make_settings)
    await command_queries.stage_failed(database, request_id, 2, await _long_ago(database))
    now = await server_time(database)
    assert await command_queries.stage_failed(database, request_id, 2, now) == len(URLS)
    await sweep_queries.delete_orphans(database, limit=10)
    assert {status for _, status, _, _ in await _batches(database)} == {BatchStatus.STAGED}
    assert await commands.retry(database, await _request(database, request_id), turn_seconds=5) == len(URLS)
    assert {(run, status) for run, status, _, _ in await _batches(database)} == {(2, BatchStatus.PENDING)}


async def test_a_retry_that_stalled_is_not_committed(database: Database, make_settings: MakeSettings) -> None:
    """An ingest that slept between staging and commit changes nothing: the sweep may have put the batches back."""
    request_id = await _cancelled(database, make_settings)
    before = await _request(database, request_id)
    staged_at = await _long_ago(database)
    await command_queries.stage_failed(database, request_id, 2, staged_at)
    assert not await command_queries.commit_retry(database, request_id, 2, staged_at=staged_at, has_webhook=True)
    assert await _request(database, request_id) == before


async def test_batches_staged_for_a_run_that_never_was_do_not_hold_up_the_present_one(
    database: Database, make_settings: MakeSettings
) -> None:
    """What was staged on the word of a deposed primary, while the run still goes on, is put back, too."""
    request_id = await _cancelled(database, make_settings)
    await command_queries.stage_failed(database, request_id, 2, await _long_ago(database))
    await database.requests.update_one({"_id": request_id}, {"$set": {"status": RequestStatus.PROCESSING}})
    await sweep_queries.delete_orphans(database, limit=10)
    assert [status for _, status, _, _ in await _batches(database)] == [BatchStatus.COMPLETED, BatchStatus.CANCELLED]


async def test_the_webhook_of_a_retry_begins_from_the_beginning(
    database: Database, make_settings: MakeSettings
) -> None:
    """Nothing of the earlier run's webhook is left: no tries, no lease, no time, no place in a schedule."""
    request_id = await _cancelled(database, make_settings)
    now = await server_time(database)
    earlier = {"tries": 12, "schedule_from": 10, "state": WebhookState.GIVEN_UP, "next_attempt_at": now}
    held = {"settled_at": now, "not_before": now, "lease": {"token": "t", "worker": "w", "expires_at": now}}
    values = {f"webhook.{name}": value for name, value in {**earlier, **held}.items()}
    await database.requests.update_one({"_id": request_id}, {"$set": values})
    await commands.retry(database, await _request(database, request_id), turn_seconds=5)
    webhook = (await _request(database, request_id))["webhook"]
    assert webhook == {"url": HOOK, "host": "127.0.0.1", "state": WebhookState.WAITING, "tries": 0}
