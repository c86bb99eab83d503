"""What the ingest's longest answers cost: live progress for 500 listeners, and the status of 100,000 rows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from imagepress.documents import BatchStatus
from imagepress.mongo import Database
from tests.bench.large_upload import ROWS, content_of
from tests.bench.system import Bench, p50, peak_mb
from tests.support.processes import Service
from tests.support.uploads import csv_of

LISTENERS: Final = 500
REQUESTS: Final = 50
CHANGES: Final = 5
TRIES: Final = 5
DEADLINE_SECONDS: Final = 60


async def measure(bench: Bench) -> dict[str, float]:
    """Measure both, each in a process of its own: a peak never falls again."""
    async with bench.running("ingest") as system, bench.database() as database:
        ingest = system["ingest"]
        listeners = await _listeners(ingest, database)
        async with httpx.AsyncClient(base_url=ingest.url, timeout=120) as client:
            answer = await client.post("/api/upload", files={"file": ("large.csv", content_of(ROWS))})
        await ingest.stop()
        await ingest.start()
        return {"sse_listeners_500_mb": listeners, **await _status(ingest, answer.json()["request_id"])}


async def _listeners(ingest: Service, database: Database) -> float:
    """Return the megabytes by which the process grows for its listeners, while all of them hear of changes."""
    async with httpx.AsyncClient(base_url=ingest.url, timeout=60) as client:
        file = {"file": ("c.csv", csv_of([f"http://h.example/{n}" for n in range(CHANGES)]))}
        ids = [(await client.post("/api/upload", files=file)).json()["request_id"] for _ in range(REQUESTS)]
    async with _listening(ingest, ids[0]) as first:  # the stream is opened, and everything loaded
        await _hear(first)
        before = _resident_mb(ingest)
        async with AsyncExitStack() as stack:
            heard = [await stack.enter_async_context(_listening(ingest, ids[n % REQUESTS])) for n in range(LISTENERS)]
            await asyncio.gather(*(_hear(listener) for listener in heard))
            most = 0.0
            for change in range(1, CHANGES):
                values = {"status": BatchStatus.PROCESSING, "succeeded": change}
                await database.batches.update_many({"seq": 0}, {"$set": values})
                await asyncio.gather(*(_hear(listener) for listener in heard))
                most = max(most, _resident_mb(ingest))
    return most - before


@asynccontextmanager
async def _listening(ingest: Service, request_id: str) -> AsyncIterator[asyncio.StreamReader]:
    """Open a connection that follows a request: a bare socket, because 500 clients would need more than the service."""
    host = urlsplit(ingest.url)
    reader, writer = await asyncio.open_connection(host.hostname, host.port)
    writer.write(f"GET /api/requests/{request_id}/events HTTP/1.1\r\nHost: {host.netloc}\r\n\r\n".encode())
    try:
        yield reader
    finally:
        writer.close()
        await writer.wait_closed()


async def _hear(reader: asyncio.StreamReader) -> None:
    """Wait for the next event."""
    await asyncio.wait_for(reader.readuntil(b"event: progress"), DEADLINE_SECONDS)


def _resident_mb(ingest: Service) -> float:
    for line in Path(f"/proc/{ingest.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError("the process has no VmRSS")


async def _status(ingest: Service, request_id: str) -> dict[str, float]:
    """Return how soon the status of all rows begins, and what the process needs at most while it is read whole."""
    delays, size = [], 0
    async with httpx.AsyncClient(base_url=ingest.url, timeout=120) as client:
        for _ in range(TRIES):
            began = time.perf_counter()
            async with client.stream("GET", "/api/status", params={"request_id": request_id}) as answer:
                pieces = answer.aiter_bytes()
                size = len(await anext(pieces))
                delays.append((time.perf_counter() - began) * 1000)
                size += sum([len(piece) async for piece in pieces])
        if size < ROWS * 100:
            raise ValueError(f"{size} bytes are not the status of {ROWS} rows")
    return {
        "status_100k_rows_first_byte_ms": p50(delays),
        "status_100k_rows_peak_mb": peak_mb(ingest.process.pid),
    }
