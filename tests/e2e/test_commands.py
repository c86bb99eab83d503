"""What a client may ask of a request: to stop it, to try again what failed, to forget it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from imagepress.mongo import Database
from services.ingest import command_queries
from tests.support import origin as origins
from tests.support.calls import status_of, until_ended, upload
from tests.support.origin import Origin, serve_origin
from tests.support.pictures import photo
from tests.support.processes import FAST, Service, eventually, services
from tests.support.stored import Stored, in_folder_and_s3
from tests.support.uploads import csv_of

IMAGES = 40


@pytest.fixture
async def system(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[dict[str, Service]]:
    """Ingest and watcher, running."""
    async with services({**environment, **FAST}, tmp_path) as made:
        await asyncio.gather(made["ingest"].start(), made["watcher"].start())
        yield made


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """An origin with one picture under forty paths."""
    picture = origins.body(photo(1))
    async with serve_origin({f"/{n}": picture for n in range(IMAGES)}) as serving:
        yield serving


async def _ask(system: dict[str, Service], method: str, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=system["ingest"].url, timeout=30) as client:
        return await client.request(method, path)


def _urls(origin: Origin) -> list[str]:
    return [origin.url(f"/{n}") for n in range(IMAGES)]


@in_folder_and_s3
async def test_a_cancelled_request_keeps_what_is_done_and_starts_nothing_more(
    system: dict[str, Service], origin: Origin
) -> None:
    """Cancelled in the middle: counts equal the rows, what was not done says so, and nothing changes afterwards."""
    gate = asyncio.Event()
    for n in range(12, IMAGES):
        origin.answers[f"/{n}"] = origins.held(gate, origin.answers[f"/{n}"])
    request_id = await upload(system["ingest"], csv_of(_urls(origin)))

    async def first_batches_done() -> bool:
        return bool((await status_of(system["ingest"], request_id))["images"]["succeeded"] >= 12)

    await eventually(first_batches_done)
    answer = await _ask(system, "POST", f"/api/requests/{request_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    status = await status_of(system["ingest"], request_id)
    assert status["status"] == "cancelled"
    links = [link for row in status["details"] for link in row["output_image_urls"] if link]
    codes = [error["code"] for row in status["details"] for error in row["errors"]]
    assert len(links) == status["images"]["succeeded"] == 12
    assert codes == ["cancelled"] * (IMAGES - 12)
    gate.set()
    assert (await _ask(system, "POST", f"/api/requests/{request_id}/cancel")).status_code == 409
    # The workers find out at their next heartbeat, and take up other work.
    after = await until_ended(system["ingest"], await upload(system["ingest"], csv_of(_urls(origin)[:3])))
    assert after["status"] == "completed"
    assert await status_of(system["ingest"], request_id) == status


@in_folder_and_s3
async def test_a_cancellation_spares_what_was_stored_in_unfinished_batches(
    system: dict[str, Service], environment: dict[str, str], origin: Origin
) -> None:
    """Cancelled as soon as every second image is stored, so that no batch is complete: all of these stay."""
    gate = asyncio.Event()
    for n in range(1, IMAGES, 2):
        origin.answers[f"/{n}"] = origins.held(gate, origin.answers[f"/{n}"])
    request_id = await upload(system["ingest"], csv_of(_urls(origin)))
    stored: list[str] = []

    async def every_second_is_stored() -> bool:
        stored[:] = await Stored(environment).paths(request_id)
        return len(stored) == IMAGES // 2

    await eventually(every_second_is_stored)
    answer = await _ask(system, "POST", f"/api/requests/{request_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    gate.set()
    status = await status_of(system["ingest"], request_id)
    links = [[link is not None for link in row["output_image_urls"]] for row in status["details"]]
    assert links == [[n % 2 == 0] for n in range(IMAGES)]
    assert status["images"] == {"total": IMAGES, "succeeded": IMAGES // 2, "failed": 0}


async def test_a_cancellation_ends_although_its_ingest_died(
    system: dict[str, Service], database: Database, origin: Origin
) -> None:
    """Asked for, and never finished: workers let go, and the sweep ends it, however often leases run out meanwhile."""
    gate = asyncio.Event()
    for n in range(1, IMAGES, 2):
        origin.answers[f"/{n}"] = origins.held(gate, origin.answers[f"/{n}"])
    request_id = await upload(system["ingest"], csv_of(_urls(origin)))

    async def is_worked_on() -> bool:
        return bool((await status_of(system["ingest"], request_id))["status"] == "processing")

    await eventually(is_worked_on)
    assert await command_queries.ask_to_cancel(database, request_id, 1)
    assert (await until_ended(system["ingest"], request_id))["status"] == "cancelled"
    gate.set()


async def test_a_retry_runs_again_only_what_failed(system: dict[str, Service], origin: Origin) -> None:
    """After the origin is mended, a retry fetches the failed images and no others, and the request completes."""
    good = origin.answers["/0"]
    for n in (3, 20, 39):
        origin.answers[f"/{n}"] = origins.status(404)
    request_id = await upload(system["ingest"], csv_of(_urls(origin)))
    first = await until_ended(system["ingest"], request_id)
    assert first["images"] == {"total": IMAGES, "succeeded": IMAGES - 3, "failed": 3}
    for n in (3, 20, 39):
        origin.answers[f"/{n}"] = good
    asked_before = len(origin.requests)
    answer = await _ask(system, "POST", f"/api/requests/{request_id}/retry")
    assert (answer.status_code, answer.json()["images"]) == (200, 3)

    async def completed() -> bool:
        images = (await status_of(system["ingest"], request_id))["images"]
        return bool(images == {"total": IMAGES, "succeeded": IMAGES, "failed": 0})

    await eventually(completed)
    assert sorted(seen.path for seen in origin.requests[asked_before:]) == ["/20", "/3", "/39"]
    second = await until_ended(system["ingest"], request_id)
    assert second["status"] == "completed"
    assert all(not row["errors"] for row in second["details"])
    assert (await _ask(system, "POST", f"/api/requests/{request_id}/retry")).status_code == 409


async def test_a_cancelled_request_can_be_taken_up_again(system: dict[str, Service], origin: Origin) -> None:
    """A retry of a cancelled request does what was not done."""
    gate = asyncio.Event()
    held = origin.answers["/5"]
    origin.answers["/5"] = origins.held(gate, held)
    request_id = await upload(system["ingest"], csv_of(_urls(origin)))
    await _ask(system, "POST", f"/api/requests/{request_id}/cancel")
    gate.set()
    assert (await _ask(system, "POST", f"/api/requests/{request_id}/retry")).status_code == 200

    async def completed() -> bool:
        return bool((await status_of(system["ingest"], request_id))["status"] == "completed")

    await eventually(completed)
    assert (await status_of(system["ingest"], request_id))["images"]["succeeded"] == IMAGES


@in_folder_and_s3
async def test_a_removed_request_leaves_nothing_behind(
    system: dict[str, Service], origin: Origin, database: Database, stored: Stored
) -> None:
    """Removed: hidden at once with its images; soon no document and no file of it is left; others stay."""
    request_id = await upload(system["ingest"], csv_of(_urls(origin)))
    kept_id = await upload(system["ingest"], csv_of(_urls(origin)[:2]))
    status = await until_ended(system["ingest"], request_id)
    await until_ended(system["ingest"], kept_id)
    link = status["details"][0]["output_image_urls"][0]
    assert (await _ask(system, "DELETE", f"/api/requests/{request_id}")).status_code == 204
    assert (await _ask(system, "GET", f"/api/status?request_id={request_id}")).status_code == 404
    assert (await _ask(system, "DELETE", f"/api/requests/{request_id}")).status_code == 404
    async with httpx.AsyncClient() as client:
        assert (await client.get(link)).status_code == 404

    async def gone() -> bool:
        left = [await collection.count_documents({}) for collection in (database.requests, database.batches)]
        return left == [1, 1]

    await eventually(gone)
    assert await stored.paths(request_id) == []
    assert len(await stored.paths(kept_id)) == 2
    assert (await status_of(system["ingest"], kept_id))["status"] == "completed"


@in_folder_and_s3
async def test_a_running_request_can_be_removed(
    system: dict[str, Service], origin: Origin, database: Database, stored: Stored
) -> None:
    """Removed while it runs: it stops, and even an image that was being stored meanwhile does not stay."""
    gate = asyncio.Event()
    origin.answers["/1"] = origins.held(gate, origin.answers["/1"])
    request_id = await upload(system["ingest"], csv_of(_urls(origin)))
    assert (await _ask(system, "DELETE", f"/api/requests/{request_id}")).status_code == 204
    gate.set()

    async def gone() -> bool:
        return await database.requests.count_documents({}) == await database.batches.count_documents({}) == 0

    await eventually(gone)
    assert await stored.paths() == []


@in_folder_and_s3
async def test_retention_removes_old_requests_but_waits_for_their_webhooks(
    environment: dict[str, str], tmp_path: Path, origin: Origin, database: Database, stored: Stored
) -> None:
    """What ended longer ago than RETENTION_DAYS goes; what has a webhook to be sent still, stays."""
    settings = {**environment, **FAST, "RETENTION_DAYS": "1"}
    async with services(settings, tmp_path) as system:
        await asyncio.gather(system["ingest"].start(), system["watcher"].start())
        content = csv_of(_urls(origin)[:2])
        fresh = await upload(system["ingest"], content)
        old = await upload(system["ingest"], content)
        waiting = await upload(system["ingest"], content, "http://127.0.0.1:9999/hook")
        for request_id in (fresh, old, waiting):
            await until_ended(system["ingest"], request_id)
        past = {"$dateSubtract": {"startDate": "$$NOW", "unit": "day", "amount": 2}}
        await database.requests.update_many(
            {"_id": {"$in": [old, waiting]}}, [{"$set": {"created_at": past, "ended_at": past}}]
        )

        async def forgotten() -> bool:
            return {row["_id"] async for row in database.requests.find({}, {"_id": 1})} == {fresh, waiting}

        await eventually(forgotten)
        assert await stored.paths(old) == []
        assert len(await stored.paths(fresh)) == 2
