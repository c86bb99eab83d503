"""How soon work begins: from the answer to an upload until a watcher's first claim, through the change stream."""

from __future__ import annotations

import time

import httpx

from imagepress.mongo import Database
from tests.bench.system import Bench, p50, p95
from tests.support import origin as origins
from tests.support.calls import until_ended
from tests.support.origin import serve_origin
from tests.support.pictures import photo
from tests.support.uploads import csv_of

UPLOADS = 200
WARM_UP = 10


async def measure(bench: Bench) -> dict[str, float]:
    """Upload one small file after the other to an idle system; the claim's time is the database's, to a millisecond."""
    delays = []
    async with (
        serve_origin({"/photo.jpg": origins.body(photo(1))}) as origin,
        bench.running("ingest", "watcher") as system,
        bench.database() as database,
        httpx.AsyncClient(base_url=system["ingest"].url, timeout=30) as client,
    ):
        content = csv_of([origin.url("/photo.jpg")])
        for _ in range(UPLOADS + WARM_UP):
            answer = await client.post("/api/upload", files={"file": ("one.csv", content)})
            answered = time.time()
            request_id = answer.json()["request_id"]
            await until_ended(system["ingest"], request_id)
            delays.append((await _started(database, request_id) - answered) * 1000)
    counted = delays[WARM_UP:]
    return {"pickup_p50_ms": p50(counted), "pickup_p95_ms": p95(counted)}


async def _started(database: Database, request_id: str) -> float:
    request = await database.requests.find_one({"_id": request_id}, {"started_at": 1})
    if request is None:
        raise LookupError(request_id)
    started: float = request["started_at"].timestamp()
    return started
