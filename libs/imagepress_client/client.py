"""`Client` and `AsyncClient`: the same calls, blocking or not.

What is asked for and how an answer is read stands in plain functions, so that the two differ in waiting only.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx

from imagepress_client.model import Request, Unreachable, Upload, error_of, request_of, upload_of

TIMEOUT_SECONDS: Final = 60.0
TRIES: Final = 5
LONGEST_DELAY_SECONDS: Final = 10.0
LONGEST_ASKED_SECONDS: Final = 60.0
"""A service that asks for more than this (Retry-After) is not waited for, and never asked earlier than it wants."""
POLL_SECONDS: Final = 0.5

Progress = Callable[[Request], None]


def _headers(api_key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def _form(webhook_url: str | None) -> dict[str, str]:
    return {"webhook_url": webhook_url} if webhook_url else {}


def _read(answer: httpx.Response) -> Any:
    """Return the JSON document of an answer. Raises `ApiError` for anything but 2xx."""
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not answer.is_success:
        raise error_of(answer.status_code, document)
    return document


def _delays(rng: random.Random | None = None) -> Iterator[float]:
    """Yield the seconds to wait before each further try: doubling, with jitter."""
    drawn = rng or random.Random()  # jitter, not a secret
    for number in range(TRIES - 1):
        yield drawn.uniform(0.5, 1.0) * min(0.5 * 2**number, LONGEST_DELAY_SECONDS)


def _delay_after(answer: httpx.Response, delay: float | None) -> float | None:
    """Return the seconds until the next try, at least what the service asks for; None where `answer` is the last."""
    if answer.status_code != 503 or delay is None:
        return None
    asked = answer.headers.get("Retry-After", "")
    if not asked.isdecimal():
        return delay
    return max(delay, float(asked)) if float(asked) <= LONGEST_ASKED_SECONDS else None


def _status_query(request_id: str, rows: int | None) -> dict[str, str]:
    return {"request_id": request_id} | ({"limit": str(rows)} if rows else {})


def _uploaded(answer: httpx.Response) -> Upload:
    return upload_of(_read(answer), answer.headers.get("Location", ""))


def _has_not_ended(request_id: str, seconds: float) -> TimeoutError:
    return TimeoutError(f"request {request_id} has not ended within {seconds:g} s")


class Client:
    """A blocking client; a context manager. Raises `ApiError` for refusals and `Unreachable` where nobody answers."""

    def __init__(self, base_url: str, *, api_key: str | None = None) -> None:
        """Talk to the service at `base_url`."""
        self._http = httpx.Client(base_url=base_url, headers=_headers(api_key), timeout=TIMEOUT_SECONDS)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._http.close()

    def upload(self, csv: Path, *, webhook_url: str | None = None) -> Upload:
        """Upload a file. Not repeated by itself: a lost answer does not tell whether it was accepted."""
        try:
            with csv.open("rb") as file:
                answer = self._http.post("/api/upload", files={"file": (csv.name, file)}, data=_form(webhook_url))
        except httpx.TransportError as error:
            raise Unreachable(str(error)) from error
        return _uploaded(answer)

    def status(self, request_id: str, *, rows: int | None = None) -> Request:
        """Return the status with all rows, or the first `rows`; asked again while the service cannot answer."""
        return request_of(self._get("/api/status", _status_query(request_id, rows)))

    def wait(self, request_id: str, *, progress: Progress | None = None, seconds: float = 3600) -> Request:
        """Return the status with all rows once the request has ended.

        `progress` is called with each status on the way, the last one too; these have the first row only, because a
        large request has many megabytes of them. Raises `TimeoutError` after `seconds`.
        """
        deadline = time.monotonic() + seconds
        while True:
            request = self.status(request_id, rows=1)
            if progress:
                progress(request)
            if request.has_ended:
                return self.status(request_id)
            if time.monotonic() > deadline:
                raise _has_not_ended(request_id, seconds)
            time.sleep(POLL_SECONDS)

    def _get(self, path: str, query: dict[str, str]) -> Any:
        for delay in (*_delays(), None):
            try:
                answer = self._http.get(path, params=query)
            except httpx.TransportError as error:
                if delay is None:
                    raise Unreachable(str(error)) from error
                time.sleep(delay)
                continue
            if (pause := _delay_after(answer, delay)) is None:
                return _read(answer)
            time.sleep(pause)
        raise AssertionError  # the last round returns or raises


class AsyncClient:
    """The same for asyncio; an async context manager."""

    def __init__(self, base_url: str, *, api_key: str | None = None) -> None:
        """Talk to the service at `base_url`."""
        self._http = httpx.AsyncClient(base_url=base_url, headers=_headers(api_key), timeout=TIMEOUT_SECONDS)

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def upload(self, csv: Path, *, webhook_url: str | None = None) -> Upload:
        """Upload a file; see `Client.upload`."""
        content = await asyncio.to_thread(csv.read_bytes)
        try:
            answer = await self._http.post("/api/upload", files={"file": (csv.name, content)}, data=_form(webhook_url))
        except httpx.TransportError as error:
            raise Unreachable(str(error)) from error
        return _uploaded(answer)

    async def status(self, request_id: str, *, rows: int | None = None) -> Request:
        """Return the status; see `Client.status`."""
        return request_of(await self._get("/api/status", _status_query(request_id, rows)))

    async def wait(self, request_id: str, *, progress: Progress | None = None, seconds: float = 3600) -> Request:
        """Return the status once the request has ended; see `Client.wait`."""
        deadline = time.monotonic() + seconds
        while True:
            request = await self.status(request_id, rows=1)
            if progress:
                progress(request)
            if request.has_ended:
                return await self.status(request_id)
            if time.monotonic() > deadline:
                raise _has_not_ended(request_id, seconds)
            await asyncio.sleep(POLL_SECONDS)

    async def _get(self, path: str, query: dict[str, str]) -> Any:
        for delay in (*_delays(), None):
            try:
                answer = await self._http.get(path, params=query)
            except httpx.TransportError as error:
                if delay is None:
                    raise Unreachable(str(error)) from error
                await asyncio.sleep(delay)
                continue
            if (pause := _delay_after(answer, delay)) is None:
                return _read(answer)
            await asyncio.sleep(pause)
        raise AssertionError  # the last round returns or raises
