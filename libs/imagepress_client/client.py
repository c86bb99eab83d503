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

from imagepress_client.model import Request, Unreachable, Upload, error_of, request_of

TIMEOUT_SECONDS: Final = 60.0
TRIES: Final = 5
LONGEST_DELAY_SECONDS: Final = 10.0
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


def _asked_delay(answer: httpx.Response, delay: float) -> float:
    """Return `delay`, or what the service asks for if that is longer."""
    asked = answer.headers.get("Retry-After", "")
    return max(delay, min(float(asked), LONGEST_DELAY_SECONDS)) if asked.isdigit() else delay


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
        return Upload(**_read(answer))

    def status(self, request_id: str) -> Request:
        """Return the status with all rows; asked again while the service cannot answer."""
        return request_of(self._get("/api/status", request_id=request_id))

    def wait(self, request_id: str, *, progress: Progress | None = None, seconds: float = 3600) -> Request:
        """Return the status once the request has ended; `progress` is called with each one on the way.

        Raises `TimeoutError` after `seconds`.
        """
        deadline = time.monotonic() + seconds
        while not (request := self.status(request_id)).has_ended:
            if progress:
                progress(request)
            if time.monotonic() > deadline:
                raise TimeoutError(f"request {request_id} has not ended within {seconds:g} s")
            time.sleep(POLL_SECONDS)
        return request

    def _get(self, path: str, **query: str) -> Any:
        for delay in (*_delays(), None):
            try:
                answer = self._http.get(path, params=query)
            except httpx.TransportError as error:
                if delay is None:
                    raise Unreachable(str(error)) from error
                time.sleep(delay)
                continue
            if answer.status_code != 503 or delay is None:
                return _read(answer)
            time.sleep(_asked_delay(answer, delay))
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
        return Upload(**_read(answer))

    async def status(self, request_id: str) -> Request:
        """Return the status with all rows; see `Client.status`."""
        return request_of(await self._get("/api/status", request_id=request_id))

    async def wait(self, request_id: str, *, progress: Progress | None = None, seconds: float = 3600) -> Request:
        """Return the status once the request has ended; see `Client.wait`."""
        deadline = time.monotonic() + seconds
        while not (request := await self.status(request_id)).has_ended:
            if progress:
                progress(request)
            if time.monotonic() > deadline:
                raise TimeoutError(f"request {request_id} has not ended within {seconds:g} s")
            await asyncio.sleep(POLL_SECONDS)
        return request

    async def _get(self, path: str, **query: str) -> Any:
        for delay in (*_delays(), None):
            try:
                answer = await self._http.get(path, params=query)
            except httpx.TransportError as error:
                if delay is None:
                    raise Unreachable(str(error)) from error
                await asyncio.sleep(delay)
                continue
            if answer.status_code != 503 or delay is None:
                return _read(answer)
            await asyncio.sleep(_asked_delay(answer, delay))
        raise AssertionError  # the last round returns or raises
