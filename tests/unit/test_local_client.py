"""The client library against a small real server that speaks the contract."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from deploy.local.processes import free_port
from imagepress_client import ApiError, ApiProblem, AsyncClient, Client, Request, Unreachable, Upload
from imagepress_client import client as client_module

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

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, dict(request.query), request.headers.get("Authorization")))
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
    monkeypatch.setattr(client_module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(client_module, "LONGEST_DELAY_SECONDS", 0.01)


class Blocking:
    """`Client` with the interface of `AsyncClient`: each call in a thread, so that one test serves both."""

    def __init__(self, url: str, *, api_key: str | None = None) -> None:
        self._client = Client(url, api_key=api_key)

    async def __aenter__(self) -> Blocking:
        self._client.__enter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.__exit__(None, None, None)

    async def upload(self, csv: Path, *, webhook_url: str | None = None) -> Upload:
        return await asyncio.to_thread(self._client.upload, csv, webhook_url=webhook_url)

    async def status(self, request_id: str, *, rows: int | None = None) -> Request:
        return await asyncio.to_thread(self._client.status, request_id, rows=rows)

    async def wait(
        self, request_id: str, *, progress: Callable[[Request], None] | None = None, seconds: float = 10
    ) -> Request:
        return await asyncio.to_thread(self._client.wait, request_id, progress=progress, seconds=seconds)


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
    assert len(service.asked) == client_module.TRIES


@both
async def test_an_upload_is_never_repeated(service: Service, csv: Path, kind: Kind) -> None:
    """A repeated upload could be a second request: the caller decides."""
    service.answers = [web.json_response({"detail": "no database"}, status=503)]
    async with kind(service.url) as client:
        with pytest.raises(ApiError, match="503"):
            await client.upload(csv)
    assert len(service.asked) == 1


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
async def test_waiting_asks_for_one_row_until_the_end(service: Service, kind: Kind) -> None:
    """Progress is told from small answers, the end included; all rows are fetched once, when it is over."""
    states = [document("pending", 0, 1), document("processing", 1, 1), document("completed", 2, 1)]
    service.answers = [web.json_response(state) for state in [*states, document("completed", 2)]]
    seen: list[int] = []
    async with kind(service.url) as client:
        request = await client.wait(REQUEST_ID, progress=lambda now: seen.append(now.succeeded))
    assert seen == [0, 1, 2]
    assert len(request.rows) == 2
    limits = [query.get("limit") for _, query, _ in service.asked]
    assert limits == ["1", "1", "1", None]


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
    """Only 503 is asked again, never earlier than it wants, and not at all where it wants too much or tries are up."""
    answer = httpx.Response(status, headers={b"Retry-After": asked.encode()})
    assert client_module._delay_after(answer, delay) == expected


def test_delays_double_with_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each delay lies in the upper half of its step, and there is one less than there are tries."""
    monkeypatch.setattr(client_module, "LONGEST_DELAY_SECONDS", 3.0)
    delays = list(client_module._delays(random.Random(1)))
    assert len(delays) == client_module.TRIES - 1
    for delay, step in zip(delays, (0.5, 1.0, 2.0, 3.0), strict=True):
        assert step / 2 <= delay <= step
