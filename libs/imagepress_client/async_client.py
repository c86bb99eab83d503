"""`AsyncClient`: the same for asyncio. What is asked and how answers are read stands in `calls` and `answers`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from imagepress_client import answers, calls, model, trying
from imagepress_client.answers import Progress
from imagepress_client.calls import Call, Options
from imagepress_client.events import Decoder, Followed
from imagepress_client.model import Page, Request, Status, Upload, Webhook


class AsyncClient:
    """A client for asyncio, and an async context manager; else every call is as `Client` has it."""

    def __init__(self, base_url: str, *, api_key: str | None = None) -> None:
        """Talk to the service at `base_url`."""
        self._api_key = api_key
        self._http = httpx.AsyncClient(base_url=base_url, timeout=calls.timeout())

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def upload(
        self,
        csv: Path,
        *,
        webhook_url: str | None = None,
        options: Options | None = None,
        idempotency_key: str | None = None,
    ) -> Upload:
        """Upload a file. A lost answer is asked for again under the same key, so that it is accepted once.

        Give an `idempotency_key` of your own to keep that promise across runs of your program.
        """
        return answers.uploaded(
            await self._answer(calls.upload(csv, webhook_url, options or Options(), idempotency_key))
        )

    async def status(self, request_id: str, *, rows: int | None = None, offset: int | None = None) -> Request:
        """Return the status with all rows, or `rows` of them from `offset`, from 0."""
        return model.request_of(await self._document(calls.status(request_id, offset, rows)))

    async def list(self, *, status: Status | None = None, cursor: str | None = None, limit: int | None = None) -> Page:
        """Return a page of all requests, newest first: the first, or the one that `cursor` (`Page.next`) names."""
        return model.page_of(await self._document(calls.listing(status, cursor, limit)))

    async def cancel(self, request_id: str) -> None:
        """Stop a request; images that are done stay. Raises `ApiError` 409 for one that has ended."""
        await self._document(calls.command(request_id, "cancel"))

    async def retry(self, request_id: str) -> int:
        """Run again what failed; return the number of images. Raises `ApiError` 409 where there is nothing to do."""
        return int((await self._document(calls.command(request_id, "retry")))["images"])

    async def remove(self, request_id: str) -> None:
        """Forget a request and its images."""
        answers.check(await self._answer(calls.remove(request_id)))

    async def webhook(self, request_id: str) -> Webhook:
        """Return what became of the webhook."""
        return model.webhook_of(await self._document(calls.webhook(request_id)))

    async def redeliver(self, request_id: str) -> None:
        """Have the webhook sent again."""
        answers.check(await self._answer(calls.command(request_id, "webhook/redeliver")))

    async def result_csv(self, request_id: str, target: Path) -> None:
        """Write the rows, their links and errors to the file `target`."""
        await self._download(calls.download(request_id, "result.csv"), target)

    async def images_zip(self, request_id: str, target: Path) -> None:
        """Write all images to the ZIP file `target`."""
        await self._download(calls.download(request_id, "images.zip"), target)

    async def image(self, url: str, target: Path) -> None:
        """Write the image behind a link (one of `Row.outputs`) to the file `target`."""
        await self._download(calls.link(url), target)

    async def wait(self, request_id: str, *, progress: Progress | None = None, seconds: float = 3600) -> Request:
        """Return the status with all rows once the request has ended.

        `progress` is called with each status on the way, the last one too; these have no rows, or the first only,
        because a large request has many megabytes of them. Raises `TimeoutError` after `seconds`.
        """
        deadline = time.monotonic() + seconds
        followed = Followed.BROKEN
        while True:
            request = await self.status(request_id, rows=1)
            if progress:
                progress(request)
            if request.has_ended:
                return await self.status(request_id)
            if time.monotonic() > deadline:
                raise answers.has_not_ended(request_id, seconds)
            if followed is not Followed.NOT_SERVED:
                followed = await self._follow(request_id, progress, deadline)
            if followed is not Followed.ENDED:
                await asyncio.sleep(calls.POLL_SECONDS)

    async def _follow(self, request_id: str, progress: Progress | None, deadline: float) -> Followed:
        """Call `progress` with each live status until the request ends, or until `deadline` (monotonic)."""
        decoder = Decoder()
        silence = max(0.1, min(calls.SILENCE_SECONDS, deadline - time.monotonic()))
        try:
            async with self._stream(calls.events(request_id), calls.timeout(silence)) as answer:
                if not answers.has_events(answer):
                    return Followed.NOT_SERVED
                async for line in answer.aiter_lines():
                    event = decoder.feed(line)
                    if event and event.name == "end":
                        return Followed.ENDED
                    if event and progress and (now := answers.progress_of(event)):
                        progress(now)
                    if time.monotonic() > deadline:
                        break
        except httpx.TransportError:
            return Followed.BROKEN
        return Followed.BROKEN

    async def _document(self, call: Call) -> Any:
        return answers.document(await self._answer(call))

    async def _answer(self, call: Call) -> httpx.Response:
        async def ask() -> httpx.Response:
            headers = calls.headers_of(call, self._api_key)
            if call.file is None:
                return await self._http.request(call.method, call.target, params=call.query, headers=headers)
            files = {"file": (call.file.name, await asyncio.to_thread(call.file.read_bytes))}
            return await self._http.request(call.method, call.target, data=call.form, files=files, headers=headers)

        return await _tried(ask, repeatable=call.repeatable)

    async def _download(self, call: Call, target: Path) -> None:
        """Write an answer's body to `target`, which is there whole or not at all. Raises `ApiError`."""

        async def fetch() -> httpx.Response:
            async with self._stream(call, calls.timeout()) as answer:
                if not answer.is_success:
                    await answer.aread()
                    return answer
                with answers.partial(target).open("wb") as file:
                    async for piece in answer.aiter_bytes():
                        file.write(piece)
            answers.partial(target).replace(target)
            return answer

        try:
            answers.check(await _tried(fetch, repeatable=True))
        finally:
            answers.partial(target).unlink(missing_ok=True)

    @asynccontextmanager
    async def _stream(self, call: Call, timeout: httpx.Timeout) -> AsyncIterator[httpx.Response]:
        headers = calls.headers_of(call, self._api_key)
        opened = self._http.stream(
            call.method, call.target, headers=headers, timeout=timeout, follow_redirects=call.follows
        )
        async with opened as answer:
            yield answer


async def _tried(once: Callable[[], Awaitable[httpx.Response]], *, repeatable: bool) -> httpx.Response:
    """Return the answer of the first try that has one worth keeping. Raises `Unreachable`."""
    for delay in trying.delays():
        try:
            answer = await once()
        except httpx.TransportError as error:
            if delay is None or not trying.may_repeat(error, repeatable=repeatable):
                raise answers.unreachable(error) from error
            await asyncio.sleep(delay)
            continue
        if (pause := trying.delay_after(answer, delay, repeatable=repeatable)) is None:
            return answer
        await asyncio.sleep(pause)
    raise AssertionError  # the last round returns or raises
