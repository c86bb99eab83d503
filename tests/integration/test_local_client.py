"""The client library against a small real server that speaks the contract."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from deploy.local.processes import free_port
from imagepress_client import (
    ApiError,
    ApiProblem,
    AsyncClient,
    Client,
    Options,
    Unreachable,
    Upload,
    calls,
    trying,
)

REQUEST_ID = "6f1c1f0a-6f3e-4e0e-9a59-0d8f7f0f4b57"
CSV = "S. No.,Product Name,Input Image Urls\n1,Café,http://a.example/1.jpg\n"
PROBLEM = {
    "type": "about:blank",
    "title": "Unprocessable Content",
    "status": 422,
    "detail": "the file has 1 problem",
    "errors": [{"line": 3, "field": "Input Image Urls", "message": "the URL has no host"}],
}


def document(status: str, succeeded: int = 1, rows: int = 2) -> dict[str, Any]:
    row = {
        "serial_number": 1,
        "product_name": "SKU1",
        "input_image_urls": ["http://a.example/1.jpg"],
        "output_image_urls": [None],
        "errors": [{"url": "http://a.example/1.jpg", "code": "timeout", "message": "too slow"}],
    }
    images = {"total": 2, "succeeded": succeeded, "failed": 0}
    return {"request_id": REQUEST_ID, "status": status, "images": images, "details": [row] * rows, "new": "field"}


Answers = list[web.Response]


class Service:
    """Answers in turn, the last one for ever; remembers what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: Answers = []
        self.asked: list[tuple[str, dict[str, str], str | None]] = []
        self.uploaded: dict[str, str] = {}
        self.keys: list[str | None] = []
        self.live: web.Response | None = None
        """What the path of live progress answers; None: it is not there."""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, dict(request.query), request.headers.get("Authorization")))
        if request.path.endswith("/events"):
            live, self.live = self.live, None
            return live or web.Response(status=404)
        self.keys.append(request.headers.get("Idempotency-Key"))
        if request.method == "POST":
            for name, value in (await request.post()).items():
                self.uploaded[name] = value.file.read().decode() if isinstance(value, web.FileField) else str(value)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made = Service()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(trying, "LONGEST_DELAY_SECONDS", 0.01)


class Blocking:
    """`Client` with the interface of `AsyncClient`: each call in a thread, so that one test serves both."""

    def __init__(self, url: str, *, api_key: str | None = None) -> None:
        self._client = Client(url, api_key=api_key)

    async def __aenter__(self) -> Blocking:
        self._client.__enter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.__exit__(None, None, None)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        call = getattr(self._client, name)
        return lambda *arguments, **named: asyncio.to_thread(call, *arguments, **named)


Kind = type[Blocking] | type[AsyncClient]
both = pytest.mark.parametrize("kind", [Blocking, AsyncClient])


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    file = tmp_path / "catalogue.csv"
    file.write_text(CSV)
    return file


@both
async def test_an_upload_sends_the_file_and_tells_where_its_status_is(service: Service, csv: Path, kind: Kind) -> None:
    """File, webhook address and key are sent; fields of a later version do not disturb."""
    accepted = {"request_id": REQUEST_ID, "status": "pending", "priority": "of a later version"}
    service.answers = [web.json_response(accepted, headers={"Location": "http://here/status"})]
    async with kind(service.url, api_key="secret") as client:
        upload = await client.upload(csv, webhook_url="http://shop.example/hook")
    assert upload == Upload(REQUEST_ID, "pending", "http://here/status")
    assert service.uploaded == {"file": CSV, "webhook_url": "http://shop.example/hook"}
    assert service.asked == [("/api/upload", {}, "Bearer secret")]


@both
async def test_a_refusal_carries_every_problem(service: Service, csv: Path, kind: Kind) -> None:
    """A problem document becomes an `ApiError` with status, sentence and the single problems."""
    service.answers = [web.json_response(PROBLEM, status=422, content_type="application/problem+json")]
    async with kind(service.url) as client:
        with pytest.raises(ApiError, match="422: the file has 1 problem") as caught:
            await client.upload(csv)
    assert caught.value.problems == [ApiProblem(3, "Input Image Urls", "the URL has no host")]


@both
async def test_an_answer_that_is_no_json_is_told_by_its_status(service: Service, kind: Kind) -> None:
    """A proxy's page of HTML does not hide the status."""
    service.answers = [web.Response(status=502, text="<h1>Bad Gateway</h1>")]
    async with kind(service.url) as client:
        with pytest.raises(ApiError, match="502"):
            await client.status(REQUEST_ID)


@both
async def test_a_question_is_repeated_while_the_service_cannot_answer(service: Service, kind: Kind) -> None:
    """After two 503s the status is there; nobody notices."""
    away = web.json_response({"detail": "no database"}, status=503)
    service.answers = [away, away, web.json_response(document("processing"))]
    async with kind(service.url) as client:
        request = await client.status(REQUEST_ID)
    assert (request.status, request.total, request.succeeded) == ("processing", 2, 1)
    assert request.rows[0].outputs == [None]
    assert request.rows[0].errors[0]["code"] == "timeout"
    assert len(service.asked) == 3


@both
async def test_after_some_tries_the_service_has_the_last_word(service: Service, kind: Kind) -> None:
    """A service that stays away is asked a bounded number of times, and then its answer is the error."""
    service.answers = [web.json_response({"title": "Service Unavailable"}, status=503)]
    async with kind(service.url) as client:
        with pytest.raises(ApiError, match="503: Service Unavailable"):
            await client.status(REQUEST_ID)
    assert len(service.asked) == trying.TRIES


@both
async def test_an_upload_is_repeated_under_one_key(service: Service, csv: Path, kind: Kind) -> None:
    """An upload is sent again, whole, with the same `Idempotency-Key`; the next upload has another."""
    away = web.json_response({"detail": "no database"}, status=503)
    service.answers = [away, away, web.json_response({"request_id": REQUEST_ID, "status": "pending"})]
    async with kind(service.url) as client:
        assert (await client.upload(csv)).request_id == REQUEST_ID
        await client.upload(csv)
        await client.upload(csv, idempotency_key="mine")
    assert service.uploaded["file"] == CSV
    first, second, third, fourth, fifth = service.keys
    assert first == second == third
    assert first != fourth
    assert fifth == "mine"


@both
async def test_options_are_sent_and_what_was_skipped_is_told(service: Service, csv: Path, kind: Kind) -> None:
    """Only the given options are sent, and rows that were left out come back with their problems."""
    skipped = {"count": 1, "problems": PROBLEM["errors"]}
    service.answers = [web.json_response({"request_id": REQUEST_ID, "status": "pending", "skipped": skipped})]
    options = Options(quality=70, format="webp", max_width=800, on_error="skip", encoding="cp1252")
    async with kind(service.url) as client:
        upload = await client.upload(csv, options=options)
    assert (upload.skipped, upload.problems[0].line) == (1, 3)
    del service.uploaded["file"]
    assert service.uploaded == {
        **{"quality": "70", "format": "webp", "max_width": "800"},
        **{"on_error": "skip", "encoding": "cp1252"},
    }


@both
@pytest.mark.parametrize(("status", "tries"), [(503, 1), (429, 2), (409, 1)])
async def test_a_command_is_repeated_only_where_it_was_not_looked_at(
    service: Service, kind: Kind, status: int, tries: int
) -> None:
    """A retry that may have been carried out is not sent again; one that was turned away (429) is."""
    done = web.json_response({"request_id": REQUEST_ID, "status": "pending", "images": 3})
    service.answers = [web.json_response({"detail": "no"}, status=status), done]
    async with kind(service.url, api_key="secret") as client:
        if tries == 1:
            with pytest.raises(ApiError, match=f"{status}: no"):
                await client.retry(REQUEST_ID)
        else:
            assert await client.retry(REQUEST_ID) == 3
    assert service.asked == [(f"/api/requests/{REQUEST_ID}/retry", {}, "Bearer secret")] * tries


@both
async def test_an_id_that_is_none_is_never_asked_for(service: Service, kind: Kind) -> None:
    """An id cannot lead to another path of the service."""
    async with kind(service.url) as client:
        with pytest.raises(ValueError, match="UUID"):
            await client.remove("../../api/upload")
    assert service.asked == []


@both
async def test_the_list_comes_by_pages(service: Service, kind: Kind) -> None:
    """Status, cursor and limit are asked for; a page has its requests without rows, and the next cursor."""
    entry = {name: value for name, value in document("completed").items() if name != "details"}
    service.answers = [web.json_response({"requests": [entry], "next": "abc"})]
    async with kind(service.url) as client:
        page = await client.list(status="completed", cursor="xyz", limit=1)
    assert ([request.request_id for request in page.requests], page.next) == ([REQUEST_ID], "abc")
    assert service.asked[0][:2] == ("/api/requests", {"status": "completed", "cursor": "xyz", "limit": "1"})


def _files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@both
async def test_a_download_is_there_whole_or_not_at_all(service: Service, tmp_path: Path, kind: Kind) -> None:
    """A refused download leaves no file, a good one just its own; a link is followed without the key."""
    target = tmp_path / "result.csv"
    async with kind(service.url, api_key="secret") as client:
        service.answers = [web.json_response({"detail": "there is no request"}, status=404)]
        with pytest.raises(ApiError, match="404: there is no request"):
            await client.result_csv(REQUEST_ID, target)
        assert _files(tmp_path) == {}
        service.answers = [web.Response(status=503), web.Response(body=b"rows")]
        await client.result_csv(REQUEST_ID, target)
        await client.image(f"{service.url}/compressed_images/a.jpg", tmp_path / "a.jpg")
    assert _files(tmp_path) == {"result.csv": b"rows", "a.jpg": b"rows"}
    assert [key for _, _, key in service.asked] == ["Bearer secret"] * 3 + [None]


@both
async def test_a_link_may_lead_on_to_the_store(service: Service, tmp_path: Path, kind: Kind) -> None:
    """Where the service sends on to its object store, the image comes from there, and the store learns no key."""
    there = web.Response(status=307, headers={"Location": f"{service.url}/bucket/a.jpg?signed"})
    service.answers = [there, web.Response(body=b"image")]
    async with kind(service.url, api_key="secret") as client:
        await client.image(f"{service.url}/compressed_images/a.jpg", tmp_path / "a.jpg")
    assert _files(tmp_path) == {"a.jpg": b"image"}
    assert [(path, key) for path, _, key in service.asked] == [
        ("/compressed_images/a.jpg", None),
        ("/bucket/a.jpg", None),
    ]


@both
async def test_waiting_follows_live_progress(service: Service, kind: Kind) -> None:
    """Counts come from the events as they happen; after `end` the rows are fetched, and nothing is polled."""
    told = "".join(
        f"id: {n}\nevent: progress\ndata: {json.dumps(document('processing', n, 0))}\n\n: beat\n\n" for n in (1, 2)
    )
    service.live = web.Response(text=told + "event: end\ndata:\n\n", content_type="text/event-stream")
    states = [document("pending", 0, 1), document("completed", 2, 1), document("completed", 2)]
    service.answers = [web.json_response(state) for state in states]
    seen: list[int] = []
    async with kind(service.url) as client:
        request = await client.wait(REQUEST_ID, progress=lambda now: seen.append(now.succeeded))
    assert seen == [0, 1, 2, 2]
    assert len(request.rows) == 2
    assert [path.rpartition("/")[2] for path, _, _ in service.asked] == ["status", "events", "status", "status"]


@both
async def test_live_progress_that_breaks_off_is_taken_up_again(service: Service, kind: Kind) -> None:
    """A stream without `end` is not taken for the end: the status is looked at, and events are asked for again."""
    service.live = web.Response(text="event: progress\ndata: {", content_type="text/event-stream")
    states = [document("processing", 0, 1), document("processing", 1, 1), document("completed", 2, 1)]
    service.answers = [web.json_response(state) for state in states]
    async with kind(service.url) as client:
        assert (await client.wait(REQUEST_ID)).status == "completed"
    assert [path for path, _, _ in service.asked].count(f"/api/requests/{REQUEST_ID}/events") == 2


@both
@pytest.mark.parametrize("call", ["upload", "status"])
async def test_nobody_there(csv: Path, kind: Kind, call: str) -> None:
    """Where nobody listens, the library's own error says so."""
    async with kind(f"http://127.0.0.1:{free_port()}") as client:
        asked: Callable[[], Awaitable[object]] = (
            (lambda: client.upload(csv)) if call == "upload" else (lambda: client.status(REQUEST_ID))
        )
        with pytest.raises(Unreachable):
            await asked()


@both
async def test_without_events_waiting_asks_for_one_row_until_the_end(service: Service, kind: Kind) -> None:
    """Counts are told from small answers, the end included; all rows are fetched once, when it is over."""
    states = [document("pending", 0, 1), document("processing", 1, 1), document("completed", 2, 1)]
    service.answers = [web.json_response(state) for state in [*states, document("completed", 2)]]
    seen: list[int] = []
    async with kind(service.url) as client:
        request = await client.wait(REQUEST_ID, progress=lambda now: seen.append(now.succeeded))
    assert seen == [0, 1, 2]
    assert len(request.rows) == 2
    limits = [query.get("limit") for path, query, _ in service.asked if not path.endswith("/events")]
    assert limits == ["1", "1", "1", None]
    assert len(service.asked) == 5


@both
async def test_waiting_ends_at_the_deadline(service: Service, kind: Kind) -> None:
    """A request that does not end is named after the time that was given."""
    service.answers = [web.json_response(document("processing"))]
    async with kind(service.url) as client:
        with pytest.raises(TimeoutError, match=REQUEST_ID):
            await client.wait(REQUEST_ID, seconds=0.05)


@pytest.mark.parametrize(
    ("status", "asked", "delay", "expected"),
    [
        (200, "", 0.5, None),
        (404, "5", 0.5, None),
        (500, "", 0.5, None),
        (429, "", 0.5, 0.5),
        (502, "", 0.5, 0.5),
        (503, "", 0.5, 0.5),
        (503, "5", 0.5, 5.0),
        (503, "0", 0.5, 0.5),
        (503, "60", 0.5, 60.0),
        (503, "61", 0.5, None),
        (503, "²", 0.5, 0.5),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", 0.5, 0.5),
        (503, "5", None, None),
    ],
)
def test_when_to_ask_again(status: int, asked: str, delay: float | None, expected: float | None) -> None:
    """What passes is asked again, never earlier than it wants; not where it wants too much or tries are up."""
    answer = httpx.Response(status, headers={b"Retry-After": asked.encode()})
    assert trying.delay_after(answer, delay, repeatable=True) == expected


@pytest.mark.parametrize(
    ("error", "repeatable", "expected"),
    [
        (httpx.ConnectError("refused"), False, True),
        (httpx.ReadTimeout("no answer"), False, False),
        (httpx.ReadTimeout("no answer"), True, True),
        (httpx.UnsupportedProtocol("ftp"), True, False),
    ],
)
def test_when_to_call_again(error: httpx.TransportError, repeatable: bool, expected: bool) -> None:
    """A lost answer is asked for again only where twice is the same as once; an impossible URL never."""
    assert trying.may_repeat(error, repeatable=repeatable) is expected


def test_delays_double_with_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each delay lies in the upper half of its step, and after the last try there is none."""
    monkeypatch.setattr(trying, "LONGEST_DELAY_SECONDS", 3.0)
    *delays, last = trying.delays(random.Random(1))
    assert last is None
    assert len(delays) == trying.TRIES - 1
    for delay, step in zip(delays, (0.5, 1.0, 2.0, 3.0), strict=True):
        assert delay is not None
        assert step / 2 <= delay <= step
