"""A real webhook receiver on loopback: records what it is sent, and answers well or badly, as an `origin` does.

async with serve_receiver() as receiver:
    receiver.answer = origin.in_turn(origin.status(500), origin.status(200))
    ... receiver.url("/hook") ... receiver.received[0].json ... receiver.connections
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.listening import listening
from tests.support.origin import Answer, read_head, status


@dataclass(frozen=True)
class Call:
    """One POST as it came in; `at` is the time of day in seconds."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document


@dataclass
class Receiver:
    """What runs: where it is, how it answers, and what it was sent."""

    answer: Answer
    port: int = 0
    connections: int = 0
    received: list[Call] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        kept = True
        while kept and (head := await read_head(reader)):
            content = await reader.readexactly(int(head.headers.get("content-length", "0")))
            self.received.append(Call(head.path, head.headers, content, time.time()))
            kept = await self.answer(writer)
            await writer.drain()


@asynccontextmanager
async def serve_receiver(answer: Answer | None = None, host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    """Receive on a free port until the context ends, then cut every connection."""
    receiver = Receiver(answer or status(200))
    async with listening(receiver.serve, host) as receiver.port:
        yield receiver
