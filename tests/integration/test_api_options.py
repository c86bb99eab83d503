"""Options of an upload over HTTP: how its images are compressed, how its file is read, what its bad rows do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from imagepress.mongo import Database
from services.ingest.settings import IngestSettings
from tests.conftest import MakeSettings
from tests.support.api import serving

HEADER = "S. No.,Product Name,Input Image Urls\n"
MIXED = HEADER + "1,a,http://h.example/a\n-1,,http://h.example/b\n2,c,http://h.example/c\n3,d,\n"


@pytest.fixture
async def api(database: Database, make_settings: MakeSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running ingest."""
    assert database is not None
    async with serving(make_settings(IngestSettings)) as client:
        yield client


async def _upload(api: httpx.AsyncClient, content: str | bytes, **form: str) -> httpx.Response:
    return await api.post("/api/upload", files={"file": ("catalogue.csv", content)}, data=form)


async def test_options_are_kept_with_the_request_and_its_batches(api: httpx.AsyncClient, database: Database) -> None:
    """Quality, format and width stand in the request and in every batch, where watchers read them."""
    answer = await _upload(api, HEADER + "1,a,http://h.example/a\n", quality="80", format="webp", max_width="640")
    assert answer.status_code == 200
    expected = {"quality": 80, "format": "webp", "max_width": 640}
    for collection in (database.requests, database.batches):
        found = await collection.find_one({})
        assert found is not None
        assert found["options"] == expected


async def test_every_bad_option_is_named_at_once(api: httpx.AsyncClient, database: Database) -> None:
    """A form with five bad options is one 422 with five problems, and nothing is stored."""
    answer = await _upload(api, MIXED, quality="96", format="bmp", max_width="0", encoding="x" * 41, on_error="perhaps")
    assert answer.status_code == 422
    named = {error["field"] for error in answer.json()["errors"]}
    assert named == {"quality", "format", "max_width", "encoding", "on_error"}
    assert await database.batches.count_documents({}) == 0


async def test_bad_rows_are_skipped_and_reported_when_asked(api: httpx.AsyncClient) -> None:
    """`on_error=skip` stores the two good rows and tells the two bad ones with their three problems."""
    answer = (await _upload(api, MIXED, on_error="skip")).json()
    assert answer["status"] == "pending"
    assert answer["skipped"]["count"] == 2
    assert [problem["line"] for problem in answer["skipped"]["problems"]] == [3, 3, 5]
    details = (await api.get("/api/status", params={"request_id": answer["request_id"]})).json()["details"]
    assert [row["product_name"] for row in details] == ["a", "c"]


async def test_nothing_skipped_is_said_too(api: httpx.AsyncClient) -> None:
    """A good file uploaded with `on_error=skip` answers that no row was left out."""
    answer = await _upload(api, HEADER + "1,a,http://h.example/a\n", on_error="skip")
    assert answer.json()["skipped"] == {"count": 0, "problems": []}


@pytest.mark.parametrize(
    "content", [HEADER + "x,a,http://h.example/a\n", HEADER, "", MIXED + "9,\0,http://h.example/\n"]
)
async def test_a_file_that_skipping_does_not_help_is_refused(
    api: httpx.AsyncClient, database: Database, content: str
) -> None:
    """No good row, or a fault of the whole file, is a 422 with `on_error=skip` as well."""
    answer = await _upload(api, content, on_error="skip")
    assert answer.status_code == 422
    assert answer.json()["errors"]
    assert await database.requests.count_documents({}) == 0


async def test_a_named_encoding_is_read(api: httpx.AsyncClient) -> None:
    """A cp1252 file is read when the form names its encoding, and refused with an unknown one."""
    content = (HEADER + "1,Bögen,http://h.example/a\n").encode("cp1252")
    request_id = (await _upload(api, content, encoding="cp1252")).json()["request_id"]
    details = (await api.get("/api/status", params={"request_id": request_id})).json()["details"]
    assert details[0]["product_name"] == "Bögen"
    assert (await _upload(api, content, encoding="klingon")).status_code == 422
