"""One POST: within its deadlines, to an address that may be called, whatever the receiver does."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Final

import aiohttp

from imagepress import metrics
from imagepress.errors import PermanentError, TooManyBytes
from imagepress.outbound import forbidden_within, read_capped, retry_after_seconds
from services.notifier.decide import Result

ANSWER_BYTES: Final = 16 * 1024
"""Read of an answer, after decompression; a longer one is cut, since the status has already decided."""

SHOWN_CHARACTERS: Final = 500
"""Kept of an answer, for people who look why a delivery failed."""


class Sender:
    """Sends webhooks through a guarded session (`imagepress.outbound`), which the caller closes."""

    def __init__(self, session: aiohttp.ClientSession, *, timeout_seconds: float) -> None:
        """Give each POST `timeout_seconds`, the whole answer included."""
        self._session = session
        self._timeout_seconds = timeout_seconds

    async def post(self, url: str, content: bytes, headers: dict[str, str]) -> Result:
        """POST `content`; return what came of it. Never raises for what a receiver or the network does."""
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                status, answer, retry_after = await self._exchange(url, content, headers)
        except TimeoutError:
            return self._failed(began, f"no complete answer within {self._timeout_seconds:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            forbidden = forbidden_within(error)
            # The library's own words may repeat the URL, which may hold a password.
            told = str(forbidden) if forbidden else f"no connection, or no HTTP: {type(error).__name__}"
            return self._failed(began, told, forbidden=forbidden is not None)
        seconds = time.perf_counter() - began
        metrics.webhook_seconds.observe(seconds)
        return Result(status, None, int(seconds * 1000), answer, retry_after)

    async def _exchange(self, url: str, content: bytes, headers: dict[str, str]) -> tuple[int, str, float | None]:
        async with self._session.post(url, data=content, headers=headers, allow_redirects=False) as response:
            retry_after = retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC))
            try:
                answer = await read_capped(response, ANSWER_BYTES)
            except TooManyBytes:
                answer = b"(an answer of more than 16 KB, not kept)"
            except PermanentError as error:
                answer = str(error).encode()
            text = answer[: SHOWN_CHARACTERS * 4].decode("utf-8", "replace")[:SHOWN_CHARACTERS]
            return response.status, text, retry_after

    def _failed(self, began: float, error: str, *, forbidden: bool = False) -> Result:
        return Result(None, error, int((time.perf_counter() - began) * 1000), forbidden=forbidden)
