"""Two hundred claimers on one replica set, and no image work: how many claims a second, and how many get in each
other's way.

python -m tests.bench.claimers URI DATABASE CLAIMERS     one process of them, until nothing is left to be claimed

Each claim is followed by the completion of its batch, as a watcher's is; both are the watcher's own queries.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any, Final

from imagepress.documents import BatchStatus
from imagepress.mongo import Database, connected
from imagepress.settings import CommonSettings, load
from services.ingest.queries import Upload, batch_document
from services.watcher import queries
from services.watcher.queries import Progress
from tests.bench.system import Bench, p50, p95

CLAIMERS: Final = 200
PROCESSES: Final = 4
BATCHES: Final = 6_000
IMAGES: Final = 64
CHUNK: Final = 200

DONE: Final = Progress(succeeded=IMAGES, failed=0, bytes_in=0, bytes_out=0)


async def measure(bench: Bench) -> dict[str, float]:
    """Let all claimers empty a queue of full batches."""
    async with bench.database() as database:
        await _fill(database)
        before = await _conflicts(database)
        seconds, latencies = await _claim_all(bench)
        conflicts = await _conflicts(database) - before
        claimed = await database.batches.count_documents({"status": BatchStatus.COMPLETED, "claims": 1})
        assert claimed == len(latencies) == BATCHES, (claimed, len(latencies))
    return {
        "claims_per_s_200_workers": BATCHES / seconds,
        "claim_conflict_rate": conflicts / BATCHES,
        "claim_200_workers_p50_ms": p50(latencies) * 1000,
        "claim_200_workers_p95_ms": p95(latencies) * 1000,
    }


async def _fill(database: Database) -> None:
    """Make the queue: batches of 64 images, pending, of one upload."""
    await database.batches.delete_many({})
    options: Any = {"quality": 50, "format": "jpeg", "max_width": None}
    upload = Upload("00000000-0000-4000-8000-000000000000", "bench.csv", BATCHES, BATCHES * IMAGES, options, None)
    now = await database.client.admin.command("hello")
    for first in range(0, BATCHES, CHUNK):
        batches = []
        for seq in range(first, min(first + CHUNK, BATCHES)):
            images: Any = [{"n": n, "url": f"https://shop.example/images/{seq}/{n}.jpg"} for n in range(IMAGES)]
            rows: Any = [{"row": seq, "serial_number": seq, "product_name": "SKU", "images": images}]
            batch = batch_document(upload, seq, rows, now["localTime"])
            batches.append({**batch, "status": BatchStatus.PENDING, "turn": seq})
        await database.batches.insert_many(batches)


async def _conflicts(database: Database) -> float:
    status = await database.client.admin.command("serverStatus")
    return float(status["metrics"]["operation"]["writeConflicts"])


async def _claim_all(bench: Bench) -> tuple[float, list[float]]:
    """Run the processes; return the seconds from the first claim to the last, and how long each one took."""
    each = CLAIMERS // PROCESSES
    environment = bench.environment
    arguments = [environment["MONGO_CONNECTION_STRING"], environment["DATABASE_NAME"], str(each)]
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.claimers", *arguments),
            env={**os.environ, "MOTOR_MAX_WORKERS": str(each)},  # or the driver's threads would be the queue
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(PROCESSES)
    ]
    outputs = await asyncio.gather(*(process.communicate() for process in processes))
    claims = [claim for output, _ in outputs for claim in json.loads(output)]
    seconds = max(ended for _, ended in claims) - min(began for began, _ in claims)
    return seconds, [ended - began for began, ended in claims]


async def _be_claimers(uri: str, name: str, number: int) -> list[tuple[float, float]]:
    """Claim until nothing is left; return when each claim began and ended, by the machine's steady clock."""
    settings = load(
        CommonSettings, _env_file=None, mongo_connection_string=uri, database_name=name, collection_name="requests"
    )
    claims: list[tuple[float, float]] = []
    async with connected(settings) as database:
        await asyncio.gather(*(_be_claimer(database, f"claimer-{n}", claims) for n in range(number)))
    return claims


async def _be_claimer(database: Database, name: str, claims: list[tuple[float, float]]) -> None:
    turn = 0
    while True:
        began = time.monotonic()
        claimed = await queries.claim_batch(database, worker=name, seconds=60, from_turn=turn)
        if claimed is None:
            return
        claims.append((began, time.monotonic()))
        turn = claimed.turn
        await queries.complete_batch(database, claimed, claimed.rows, DONE)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_be_claimers(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
