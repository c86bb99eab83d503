"""The largest file a client would send: 100,000 rows in one call, and what that costs the ingest in memory."""

from __future__ import annotations

import time

import httpx

from tests.bench.system import Bench, peak_mb
from tests.support.uploads import HEADER

ROWS = 100_000


def content_of(rows: int) -> bytes:
    """Return a CSV of so many rows, with an image each."""
    return (
        HEADER + "".join(f"{n},Product number {n},https://shop.example/images/{n}/large-{n}.jpg\n" for n in range(rows))
    ).encode()


async def measure(bench: Bench) -> dict[str, float]:
    """Upload once, after a small one that warms the service up."""
    content = content_of(ROWS)
    async with (
        bench.running("ingest") as system,
        httpx.AsyncClient(base_url=system["ingest"].url, timeout=120) as client,
    ):
        await client.post("/api/upload", files={"file": ("one.csv", content[:1000].rpartition(b"\n")[0])})
        began = time.perf_counter()
        answer = await client.post("/api/upload", files={"file": ("large.csv", content)})
        seconds = time.perf_counter() - began
        answer.raise_for_status()
        return {"upload_100k_rows_s": seconds, "ingest_peak_mb": peak_mb(system["ingest"].process.pid)}
