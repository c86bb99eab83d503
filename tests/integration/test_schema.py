"""Releases beside each other: indexes made by many at once, older documents read, newer ones left alone, loudly."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from typing import Any

import httpx
from structlog.testing import capture_logs

from imagepress import documents
from imagepress.blobs import Blobs
from imagepress.documents import SCHEMA, BatchStatus, WebhookState
from imagepress.mongo import Collection, Database, connected, server_time
from imagepress.settings import CommonSettings
from services.ingest.settings import IngestSettings
from services.notifier import queries as notifier
from services.watcher import queries as watcher
from services.watcher.settings import WatcherSettings
from services.watcher.sweep import Sweep
from tests.conftest import MakeSettings
from tests.support.api import serving
from tests.support.notifying import ended
from tests.support.processes import ROOT
from tests.support.uploads import accepted

URLS = [f"http://127.0.0.1:1/{n}.jpg" for n in range(4)]  # one batch
REPLICAS = 8

CONNECT = """
import asyncio
from imagepress.mongo import connected
from imagepress.settings import CommonSettings, load

async def main() -> None:
    async with connected(load(CommonSettings)):
        pass

asyncio.run(main())
"""


async def test_many_replicas_make_the_indexes_at_once(environment: dict[str, str], make_settings: MakeSettings) -> None:
    """Eight processes that meet an empty database at the same moment all start, and every index is there, once."""
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            CONNECT,
            env={**environment, "PYTHONPATH": f"{ROOT / 'libs'}"},
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(REPLICAS)
    ]
    said = await asyncio.gather(*(process.communicate() for process in started))
    assert [process.returncode for process in started] == [0] * REPLICAS, said
    async with connected(make_settings(CommonSettings)) as database:
        made = {
            database.requests: documents.REQUEST_INDEXES,
            database.batches: documents.BATCH_INDEXES,
            database.attempts: documents.ATTEMPT_INDEXES,
        }
        for collection, wanted in made.items():
            names = {model.document["name"] for model in wanted}
            assert (await collection.index_information()).keys() == names | {"_id_"}
        await database.client.drop_database(environment["DATABASE_NAME"])


async def test_a_batch_of_an_older_release_is_worked_on(database: Database, make_settings: MakeSettings) -> None:
    """The first release wrote no version into batches: such a batch is claimed, and returned when its lease ends."""
    await accepted(database, make_settings(IngestSettings), URLS)
    await database.batches.update_many({}, {"$unset": {"schema": ""}})
    claimed = await watcher.claim_batch(database, worker="w", seconds=-1, from_turn=0)
    assert claimed is not None
    sweep = Sweep(database, Blobs(make_settings(WatcherSettings).storage_url), make_settings(WatcherSettings))
    await sweep.run_once()
    assert await database.batches.count_documents({"status": BatchStatus.PENDING, "expiries": 1}) == 1


async def _written_by_a_newer_release(database: Database, settings: IngestSettings) -> str:
    """Store, as schema 2, everything that anybody here would otherwise do something about; return a request's id."""
    past = await server_time(database) - timedelta(days=2)
    lease = {"token": "t", "worker": "w", "expires_at": past}
    claimable, expired, unreleased, removed = [await accepted(database, settings, URLS) for _ in range(4)]
    [_due, held, retired] = await ended(database, "http://127.0.0.1:1/", count=3)
    batches: dict[str, dict[str, Any]] = {
        expired: {"status": BatchStatus.PROCESSING, "lease": lease},
        unreleased: {"status": BatchStatus.STAGED, "staged_at": past},
        removed: {"status": BatchStatus.COMPLETED},
    }
    requests: dict[str, dict[str, Any]] = {
        unreleased: {"released_run": 0, "woken_at": past},
        removed: {"removed_at": past},
        retired: {"created_at": past, "ended_at": past, "webhook.state": WebhookState.DELIVERED},
        held: {"webhook.lease": lease},
    }
    for request_id, values in batches.items():
        await database.batches.update_one({"request_id": request_id}, {"$set": values})
    for request_id, values in requests.items():
        await database.requests.update_one({"_id": request_id}, {"$set": values})
    await database.batches.insert_one(
        {"_id": "orphan/0", "request_id": "orphan", "status": BatchStatus.STAGED, "staged_at": past}
    )
    for collection in (database.requests, database.batches):
        await collection.update_many({}, {"$set": {"schema": SCHEMA + 1}})
    return claimable


async def _everything(*collections: Collection) -> list[dict[str, Any]]:
    return [found for collection in collections async for found in collection.find().sort("_id", 1)]


async def test_what_a_newer_release_wrote_is_left_alone(database: Database, make_settings: MakeSettings) -> None:
    """Nobody claims, returns, releases, ends, retires or forgets it; the sweep says so as an error."""
    await _written_by_a_newer_release(database, make_settings(IngestSettings))
    before = await _everything(database.requests, database.batches)
    settings = make_settings(WatcherSettings, retention_days=1)
    assert await watcher.claim_batch(database, worker="w", seconds=60, from_turn=0) is None
    claims = await notifier.claim_due(
        database, notifier.ahead(None, ()), worker="n", seconds=60, limit=5, room=lambda _host: 5
    )
    assert claims.taken == []
    assert await notifier.next_due_seconds(database, since=3600, within=3600, behind=()) is None
    assert await notifier.expire(database) == 0
    with capture_logs() as lines:
        await Sweep(database, Blobs(settings.storage_url), settings).run_once()
    assert await _everything(database.requests, database.batches) == before
    [said] = [line for line in lines if line["log_level"] == "error"]
    assert "newer release" in said["event"]


async def test_clients_are_asked_to_come_back_to_the_newer_release(
    database: Database, make_settings: MakeSettings
) -> None:
    """An ingest that does not understand a request answers 503 with Retry-After, and does not list it."""
    request_id = await _written_by_a_newer_release(database, make_settings(IngestSettings))
    async with serving(make_settings(IngestSettings)) as client:
        calls: list[httpx.Response] = [
            await client.get("/api/status", params={"request_id": request_id}),
            await client.post(f"/api/requests/{request_id}/cancel"),
            await client.delete(f"/api/requests/{request_id}"),
        ]
        assert (await client.get("/api/requests")).json()["requests"] == []
    for answer in calls:
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
    assert await database.requests.count_documents({"cancelling": True}) == 0


async def test_a_service_that_starts_says_that_it_is_the_older_one(
    database: Database, make_settings: MakeSettings
) -> None:
    """Rolled back onto newer documents, a service starts, and says what it will not touch."""
    await ended(database, "http://127.0.0.1:1/")
    for schema, times in ((SCHEMA, 0), (SCHEMA + 1, 1)):
        await database.requests.update_many({}, {"$set": {"schema": schema}})
        with capture_logs() as lines:
            async with connected(make_settings(CommonSettings)):
                pass
        assert [line["log_level"] for line in lines] == ["error"] * times
