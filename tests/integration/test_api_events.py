"""Live progress over HTTP: server-sent events of requests that run, end, or are forgotten."""

from __future__ import annotations

import asyncio
import re
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from imagepress import transitions
from imagepress.documents import BatchStatus
from imagepress.mongo import Database
from services.ingest.settings import IngestSettings
from tests.conftest import MakeSettings
from tests.support.api import serving
from tests.support.events import following
from tests.support.processes import FAST, eventually, services
from tests.support.uploads import csv_of

LISTENERS = 40


@pytest.fixture
async def api(database: Database, make_settings: MakeSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running ingest."""
    assert database is not None
    async with serving(make_settings(IngestSettings)) as client:
        yield client


async def _uploaded(api: httpx.AsyncClient, images: int = 5) -> str:
    urls = [f"http://h.example/{n}" for n in range(images)]
    answer = await api.post("/api/upload", files={"file": ("catalogue.csv", csv_of(urls))})
    return str(answer.json()["request_id"])


async def _note(database: Database, request_id: str, seq: int, succeeded: int, failed: int) -> None:
    """Note the progress of an open batch, as a worker's heartbeat does: nothing wakes anybody."""
    counts = {"succeeded": succeeded, "failed": failed, "bytes_in": 10 * succeeded, "bytes_out": succeeded}
    await database.batches.update_one(
        {"_id": f"{request_id}/{seq:06}"}, {"$set": {"status": BatchStatus.PROCESSING, **counts}}
    )


async def _end(database: Database, request_id: str) -> None:
    """End a request as the last of its batches does, with the counts that its batches have."""
    await database.batches.update_many({"request_id": request_id}, {"$set": {"status": BatchStatus.COMPLETED}})
    total = 0
    async for batch in database.batches.find({"request_id": request_id}):
        total += batch["succeeded"] + batch["failed"]
    await database.requests.update_one({"_id": request_id}, {"$set": {"images.total": total}})
    assert await transitions.end_if_done(database, request_id, 1)


async def test_a_request_is_followed_from_its_present_state_to_its_end(
    api: httpx.AsyncClient, database: Database
) -> None:
    """The present state comes at once, counts of open batches follow, and `end` closes the connection."""
    request_id = await _uploaded(api)
    async with following(api, request_id) as events:
        first = await events.next()
        assert first is not None
        shown = (await api.get("/api/status", params={"request_id": request_id})).json()
        assert (first.name, first.request) == ("progress", {n: v for n, v in shown.items() if n != "details"})
        await _note(database, request_id, 0, 2, 1)
        await _note(database, request_id, 1, 1, 0)
        seen = await events.until("progress")
        while seen.request["images"]["succeeded"] < 3:
            seen = await events.until("progress")
        assert seen.request["images"] == {"total": 5, "succeeded": 3, "failed": 1}
        assert seen.request["bytes"] == {"input": 30, "output": 3}
        await _end(database, request_id)
        last = await events.until("end")
        assert last.request["status"] == "completed"
        assert await events.next() is None


async def test_the_status_counts_open_batches_too(api: httpx.AsyncClient, database: Database) -> None:
    """What is done of batches that are not completed stands in the status, and failures of a run before do not."""
    request_id = await _uploaded(api)
    await _note(database, request_id, 0, 3, 1)
    await database.batches.update_one({"_id": f"{request_id}/000001"}, {"$set": {"failed": 1}})
    shown = (await api.get("/api/status", params={"request_id": request_id})).json()
    assert shown["images"] == {"total": 5, "succeeded": 3, "failed": 1}


async def test_who_comes_back_is_not_told_again_what_it_saw(api: httpx.AsyncClient, database: Database) -> None:
    """With the id of the last event only what is new comes: of an ended request nothing but its end."""
    request_id = await _uploaded(api)
    await _end(database, request_id)
    async with following(api, request_id) as events:
        seen = await events.next()
        assert seen is not None
        assert (await events.until("end")).request == seen.request
    async with following(api, request_id, **{"Last-Event-ID": seen.id}) as events:
        again = await events.next()
        assert again is not None
        assert again.name == "end"
    async with following(api, request_id, **{"Last-Event-ID": "another"}) as events:
        assert await events.next() == seen


async def test_all_listeners_share_one_change_stream(api: httpx.AsyncClient, database: Database) -> None:
    """Forty listeners of four requests all hear of the ends, and the database serves one change stream for them."""
    ids = [await _uploaded(api) for _ in range(4)]
    async with AsyncExitStack() as stack:
        heard = [await stack.enter_async_context(following(api, ids[n % len(ids)])) for n in range(LISTENERS)]
        for events in heard:
            assert await events.next() is not None
        assert await _listeners(api) == LISTENERS
        await eventually(lambda: _has_streams(database, 1))
        for request_id in ids:
            await _end(database, request_id)
        ended = await asyncio.gather(*(events.until("end") for events in heard))
        assert [event.request["request_id"] for event in ended] == [ids[n % len(ids)] for n in range(LISTENERS)]


async def _has_streams(database: Database, number: int) -> bool:
    """Whether so many change streams are open on this test's requests."""
    pipeline: list[dict[str, Any]] = [
        {"$currentOp": {"idleCursors": True, "allUsers": True}},
        {
            "$match": {
                "ns": database.requests.full_name,
                "cursor.originatingCommand.pipeline.0.$changeStream": {"$exists": True},
            }
        },
    ]
    return len([found async for found in database.client.admin.aggregate(pipeline)]) == number


async def _listeners(api: httpx.AsyncClient) -> int:
    found = re.search(r"^imagepress_listeners (\d+)", (await api.get("/metrics")).text, re.MULTILINE)
    assert found
    return int(found[1])


async def test_who_goes_away_is_forgotten(api: httpx.AsyncClient) -> None:
    """A connection that its client closes is not counted among the listeners any more."""
    request_id = await _uploaded(api)
    async with following(api, request_id) as events:
        assert await events.next() is not None
        assert await _listeners(api) == 1

    async def nobody() -> bool:
        return await _listeners(api) == 0

    await eventually(nobody)


async def test_listeners_of_a_request_that_is_removed_are_let_go(api: httpx.AsyncClient) -> None:
    """Removing a request ends its live progress."""
    request_id = await _uploaded(api)
    async with following(api, request_id) as events:
        assert await events.next() is not None
        assert (await api.delete(f"/api/requests/{request_id}")).status_code == 204
        await events.until("end")


async def test_an_idle_connection_is_kept_open_by_comments(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing changes a comment comes now and then (every 15 s; here sooner): no proxy takes it for dead."""
    monkeypatch.setattr("fastapi.routing._PING_INTERVAL", 0.1)
    async with api.stream("GET", f"/api/requests/{await _uploaded(api)}/events") as answer, asyncio.timeout(30):
        comments = 0
        async for line in answer.aiter_lines():
            comments += line.startswith(":")
            if comments == 2:
                return
    pytest.fail("the connection ended")


@pytest.mark.parametrize(("request_id", "status"), [(str(uuid.uuid4()), 404), ("7", 422)])
async def test_no_request_has_no_events(api: httpx.AsyncClient, request_id: str, status: int) -> None:
    """An unknown request is 404, and what is no UUID is 422."""
    assert (await api.get(f"/api/requests/{request_id}/events")).status_code == status


async def test_an_ingest_with_listeners_stops_at_once(environment: dict[str, str], tmp_path: Path) -> None:
    """SIGTERM ends live progress without `end`, so that listeners go elsewhere, and the service exits with 0."""
    async with services({**environment, **FAST, "DRAIN_SECONDS": "30"}, tmp_path) as system:
        ingest = await system["ingest"].start()
        async with httpx.AsyncClient(base_url=ingest.url, timeout=30) as api:
            async with following(api, await _uploaded(api)) as events:
                assert await events.next() is not None
                stopping = asyncio.create_task(ingest.kill(signal.SIGTERM))
                assert await events.next() is None
            assert await asyncio.wait_for(stopping, 25) == 0, ingest.said()
