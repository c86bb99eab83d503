"""`Idempotency-Key`: whatever happens to the first call, repeating it gives one request, whole."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from imagepress.documents import BatchStatus
from imagepress.mongo import Database
from services.ingest.settings import IngestSettings
from tests.conftest import MakeSettings
from tests.support.api import serving
from tests.support.processes import FAST, services
from tests.support.uploads import csv_of

IMAGES = 60
CONTENT = csv_of([f"http://h.example/{n}" for n in range(IMAGES)])
KEY = "5f3c01c2a1b0d9e8"
SHOP, PRESS = "shops-key-0123456789", "press-key-0123456789"


@pytest.fixture
async def api(database: Database, make_settings: MakeSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running ingest."""
    assert database is not None
    async with serving(make_settings(IngestSettings)) as client:
        yield client


async def _upload(
    api: httpx.AsyncClient, content: bytes = CONTENT, key: str = KEY, headers: dict[str, str] | None = None, **form: str
) -> httpx.Response:
    return await api.post(
        "/api/upload",
        files={"file": ("c.csv", content)},
        data=form,
        headers={"Idempotency-Key": key, **(headers or {})},
    )


async def _assert_whole(database: Database, request_id: str, *, released: bool = True) -> None:
    """Assert that there is this request only, with every image once; claimable unless that is the sweep's work."""
    assert [row["_id"] async for row in database.requests.find()] == [request_id]
    batches = [row async for row in database.batches.find().sort("_id", 1)]
    assert {batch["request_id"] for batch in batches} == {request_id}
    assert not released or {batch["status"] for batch in batches} == {BatchStatus.PENDING}
    urls = [image["url"] for batch in batches for row in batch["rows"] for image in row["images"]]
    assert urls == [f"http://h.example/{n}" for n in range(IMAGES)]


async def test_the_same_call_twice_has_the_same_answer(api: httpx.AsyncClient, database: Database) -> None:
    """The second call answers like the first, location and skipped rows too, and stores nothing."""
    content = CONTENT + b"-1,bad,http://h.example/x\n"
    first, second = [await _upload(api, content, on_error="skip") for _ in range(2)]
    assert (first.status_code, first.json()["skipped"]["count"]) == (200, 1)
    assert (second.status_code, second.json()) == (200, first.json())
    assert second.headers["location"] == first.headers["location"]
    await _assert_whole(database, first.json()["request_id"])


async def test_calls_at_the_same_time_make_one_request(api: httpx.AsyncClient, database: Database) -> None:
    """Eight calls with one key at once all answer with one request, and what the others staged is gone."""
    answers = await asyncio.gather(*(_upload(api) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    [request_id] = {answer.json()["request_id"] for answer in answers}
    await _assert_whole(database, request_id)


async def test_a_key_belongs_to_what_it_came_with(api: httpx.AsyncClient, database: Database) -> None:
    """With another file, option or webhook the key is 409, and nothing is stored; another key makes another request."""
    request_id = (await _upload(api)).json()["request_id"]
    for answer in (
        await _upload(api, CONTENT + b"99,more,http://h.example/more\n"),
        await _upload(api, quality="60"),
        await _upload(api, on_error="skip"),
        await _upload(api, webhook_url="https://shop.example/hook"),
    ):
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
    await _assert_whole(database, request_id)
    assert (await _upload(api, key="another")).json()["request_id"] != request_id


async def test_what_was_refused_uses_no_key_up(api: httpx.AsyncClient, database: Database) -> None:
    """After a file with problems, the mended one is accepted under the same key."""
    assert (await _upload(api, CONTENT + b"-1,bad,http://h.example/x\n")).status_code == 422
    mended = await _upload(api)
    assert mended.status_code == 200
    await _assert_whole(database, mended.json()["request_id"])


@pytest.mark.parametrize("key", ["a b", "x" * 256, ""])
async def test_a_key_that_cannot_be_kept_is_refused(api: httpx.AsyncClient, database: Database, key: str) -> None:
    """A key of other than 1 to 255 visible ASCII characters is 422, and nothing is stored."""
    assert (await _upload(api, key=key)).status_code == 422
    assert await database.requests.count_documents({}) == 0


async def test_clients_have_keys_of_their_own(database: Database, make_settings: MakeSettings) -> None:
    """The same key of another client is another key, and shows nothing of the first one's request."""
    settings = make_settings(IngestSettings, api_keys=f"shop:{SHOP},press:{PRESS}")
    async with serving(settings) as api:
        answers = [await _upload(api, headers={"X-API-Key": key}) for key in (SHOP, PRESS, SHOP)]
    ids = [answer.json()["request_id"] for answer in answers]
    assert ids[0] == ids[2] != ids[1]
    assert await database.requests.count_documents({}) == 2


@pytest.mark.parametrize(
    "step", ["after the first chunk", "before the commit", "after the commit", "in the release", "after the release"]
)
async def test_whatever_step_the_first_call_dies_at_the_second_makes_it_one_request(
    environment: dict[str, str], tmp_path: Path, database: Database, step: str
) -> None:
    """The ingest is killed; asked the same, the next one has one whole request, the first one if that was staged."""
    settings = {**environment, **FAST, "BATCH_IMAGES": "8"}
    async with services(settings, tmp_path) as system:
        ingest = system["ingest"]
        await ingest.spawn(sys.executable, "-m", "tests.support.dying_ingest", step)
        await ingest.until_ready()
        async with httpx.AsyncClient(base_url=ingest.url, timeout=60) as api:
            with pytest.raises(httpx.TransportError):
                await _upload(api)
        assert await ingest.process.wait() == -9
        noted = await database.idempotency.find_one({"_id": f"/{KEY}"})
        await ingest.start()
        async with httpx.AsyncClient(base_url=ingest.url, timeout=60) as api:
            request_id = (await _upload(api)).json()["request_id"]
            assert (await _upload(api)).json()["request_id"] == request_id
    if step == "after the first chunk":
        assert noted is None
        await database.batches.delete_many({"request_id": {"$ne": request_id}})  # as the sweep does after an hour
    else:
        assert noted is not None
        assert noted["request_id"] == request_id
    await _assert_whole(database, request_id, released=step not in ("after the commit", "in the release"))


@pytest.mark.parametrize("is_old", [False, True])
async def test_a_key_of_something_dead_is_taken_over(api: httpx.AsyncClient, database: Database, is_old: bool) -> None:
    """Where nothing is staged any more, or so long ago that it may be swept at any moment, the call begins anew."""
    first = (await _upload(api)).json()["request_id"]
    await database.requests.delete_one({"_id": first})
    if is_old:
        await database.batches.update_many({}, {"$set": {"status": BatchStatus.STAGED}})
        past = {"$dateSubtract": {"startDate": "$$NOW", "unit": "minute", "amount": 31}}
        await database.idempotency.update_one({}, [{"$set": {"created_at": past}}])
    else:
        await database.batches.delete_many({})
    second = (await _upload(api)).json()["request_id"]
    assert second != first
    await database.batches.delete_many({"request_id": first})  # as the sweep does
    await _assert_whole(database, second)


async def test_a_request_that_was_removed_is_still_the_answer(api: httpx.AsyncClient, database: Database) -> None:
    """A late repetition does not bring back what its client has had removed."""
    request_id = (await _upload(api)).json()["request_id"]
    assert (await api.delete(f"/api/requests/{request_id}")).status_code == 204
    assert (await _upload(api)).json()["request_id"] == request_id
    assert await database.requests.count_documents({"removed_at": {"$exists": False}}) == 0


async def test_keys_are_kept_for_a_day(api: httpx.AsyncClient, database: Database) -> None:
    """The database itself deletes a key a day after it was noted, by its own clock."""
    await _upload(api)
    [index] = [index async for index in database.idempotency.list_indexes() if "expireAfterSeconds" in index]
    assert index["expireAfterSeconds"] == 24 * 3600
    [field] = index["key"]
    noted = await database.idempotency.find_one(
        {"$expr": {"$lt": [{"$abs": {"$subtract": ["$$NOW", f"${field}"]}}, 60_000]}}
    )
    assert noted is not None
