"""Live progress as a browser reads it: server-sent events, with a deadline for each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Event:
    """One event: its name, its id, and the request that it tells of."""

    name: str
    id: str
    request: dict[str, Any]


class Events:
    """The events of one connection."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        """Read from the lines of an answer."""
        self._lines = lines

    async def next(self, seconds: float = 30) -> Event | None:
        """Wait for the next event; None where the connection has ended. Raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            fields: dict[str, str] = {}
            async for line in self._lines:
                if not line and "data" in fields:
                    return Event(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
                name, _, value = line.partition(": ")
                fields[name] = value
        return None

    async def until(self, name: str, seconds: float = 30) -> Event:
        """Wait for an event of that name, past all others. Raises `EOFError` where the connection ends before."""
        async with asyncio.timeout(seconds):
            while event := await self.next(seconds):
                if event.name == name:
                    return event
        raise EOFError(f"no event {name}")


@asynccontextmanager
async def following(api: httpx.AsyncClient, request_id: str, **headers: str) -> AsyncIterator[Events]:
    """Follow a request."""
    async with api.stream("GET", f"/api/requests/{request_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Events(answer.aiter_lines())
