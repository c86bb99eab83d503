"""The list of requests and the result CSV over HTTP."""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest

from imagepress.documents import BatchStatus, RequestStatus
from imagepress.mongo import Database
from services.ingest.settings import IngestSettings
from tests.conftest import MakeSettings
from tests.support.api import serving

HEADER = "S. No.,Product Name,Input Image Urls\n"


@pytest.fixture
async def api(database: Database, make_settings: MakeSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running ingest."""
    assert database is not None
    async with serving(make_settings(IngestSettings, public_base_url="http://ip.test")) as client:
        yield client


async def _uploaded(api: httpx.AsyncClient, rows: str) -> str:
    answer = await api.post("/api/upload", files={"file": ("catalogue.csv", HEADER + rows)})
    assert answer.status_code == 200
    return str(answer.json()["request_id"])


async def _pages(api: httpx.AsyncClient, limit: int, **query: str) -> list[list[str]]:
    pages = []
    while True:
        answer = (await api.get("/api/requests", params={"limit": limit, **query})).json()
        pages.append([request["request_id"] for request in answer["requests"]])
        if answer["next"] is None:
            return pages
        query["cursor"] = answer["next"]


async def test_requests_come_newest_first_page_by_page(api: httpx.AsyncClient, database: Database) -> None:
    """Five requests, three of them of one millisecond, come once each in pages of two; the last page has no next."""
    ids = [await _uploaded(api, "1,a,http://h.example/a\n") for _ in range(5)]
    first = await database.requests.find_one({"_id": ids[0]})
    assert first is not None
    same = {"$set": {"created_at": first["created_at"]}}
    await database.requests.update_many({"_id": {"$in": ids[:3]}}, same)
    pages = await _pages(api, 2)
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [found for page in pages for found in page] == [*reversed(ids[3:]), *sorted(ids[:3], reverse=True)]


async def test_the_list_can_be_of_one_status(api: httpx.AsyncClient, database: Database) -> None:
    """With `status` only such requests come, as the status shows them without rows; forgotten ones never."""
    ids = [await _uploaded(api, "1,a,http://h.example/a\n") for _ in range(3)]
    await database.requests.update_one({"_id": ids[1]}, {"$set": {"status": RequestStatus.COMPLETED}})
    await database.requests.update_one({"_id": ids[2]}, {"$currentDate": {"removed_at": True}})
    assert await _pages(api, 10, status="completed") == [[ids[1]]]
    assert await _pages(api, 10, status="pending") == [[ids[0]]]
    shown = (await api.get("/api/requests", params={"status": "pending"})).json()["requests"][0]
    whole = (await api.get("/api/status", params={"request_id": ids[0]})).json()
    assert shown == {name: value for name, value in whole.items() if name != "details"}


@pytest.mark.parametrize(
    "query",
    [
        *({"cursor": "x"}, {"cursor": "bnVsbA=="}, {"cursor": "WzEsMl0="}, {"cursor": "é"}, {"cursor": "a" * 201}),
        *({"limit": "0"}, {"limit": "201"}, {"status": "done"}),
        {"cursor": "Wzk5OTk5OTk5OTk5OTk5OTk5OTk5LCJhIl0="},
    ],
)
async def test_a_list_that_cannot_be_given_says_why(api: httpx.AsyncClient, query: dict[str, str]) -> None:
    """A made-up cursor, limit or status is a 422 that names it."""
    answer = await api.get("/api/requests", params=query)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] in query


async def test_the_result_is_a_csv_with_outputs_and_errors(api: httpx.AsyncClient, database: Database) -> None:
    """Each row comes with its links and its errors, as an attachment, and stands where the file had it."""
    request_id = await _uploaded(api, "1,a,http://h.example/a,http://h.example/b\n2,b,http://h.example/c\n")
    outcome = {"status": "succeeded", "blob": f"{request_id}/x.jpg", "bytes_in": 9, "bytes_out": 3}
    gone = {"status": "failed", "error": {"code": "http_404", "message": "gone"}}
    async for batch in database.batches.find({"request_id": request_id}):
        for row in batch["rows"]:
            for image in row["images"]:
                image |= gone if image["url"].endswith("b") else {**outcome, "kept_original": False}
        await database.batches.replace_one({"_id": batch["_id"]}, {**batch, "status": BatchStatus.COMPLETED})
    answer = await api.get(f"/api/requests/{request_id}/result.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="imagepress-{request_id}.csv"'
    link = f"http://ip.test/compressed_images/{request_id}/x.jpg"
    assert list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline=""))) == [
        ["S. No.", "Product Name", "Input Image Urls", "Output Image Urls", "Errors"],
        ["1", "a", "http://h.example/a,http://h.example/b", f"{link},", "http://h.example/b http_404: gone"],
        ["2", "b", "http://h.example/c", link, ""],
    ]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "＝1", '=HYPERLINK("x")'])
async def test_no_cell_of_the_result_is_a_formula(api: httpx.AsyncClient, name: str) -> None:
    """A product whose name a spreadsheet would run comes back with an apostrophe before it."""
    cell = name.replace('"', '""')
    request_id = await _uploaded(api, f'1,"{cell}",http://h.example/a\n')
    text = (await api.get(f"/api/requests/{request_id}/result.csv")).content.decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(text, newline="")))[1][1] == f"'{name}"


async def test_the_result_of_many_rows_is_whole(api: httpx.AsyncClient) -> None:
    """A result of 250 rows, streamed in pieces, has every row once and in order."""
    request_id = await _uploaded(api, "".join(f"{n},a,http://h.example/{n}\n" for n in range(250)))
    text = (await api.get(f"/api/requests/{request_id}/result.csv")).content.decode("utf-8-sig")
    assert [row[0] for row in csv.reader(io.StringIO(text, newline=""))][1:] == [str(n) for n in range(250)]


@pytest.mark.parametrize(("request_id", "status"), [(str(uuid.uuid4()), 404), ("7", 422)])
async def test_the_result_of_no_request_is_a_problem(api: httpx.AsyncClient, request_id: str, status: int) -> None:
    """An unknown request is 404, and what is no UUID is 422."""
    assert (await api.get(f"/api/requests/{request_id}/result.csv")).status_code == status
