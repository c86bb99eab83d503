"""Thousands of calls generated from the documentation, to the real service: no 5xx, and nothing that it does not say.

Two runs: one makes every value up, the other asks for what there is, so that it comes past the 404s. The seed is fixed.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from imagepress.blobs import Blobs
from imagepress.documents import BatchStatus, ImageStatus, RequestStatus, image_path
from imagepress.mongo import Database
from tests.support.processes import FAST, Service, services
from tests.support.uploads import csv_of

KEY = "shops-key-0123456789"
SEED = 6
LEAST_CASES = 3_000
RUN_SECONDS = 240  # each run takes about 40 on an idle machine
REAL_VALUES = ["--exclude-operation-id=remove", "--mode=positive", "--phases=coverage,fuzzing"]
TOML = """
generation.database = "none"
request-timeout = 20.0
max-stream-events = 1  # live progress of a request that nobody works on has no end
color = false

[auth.openapi]
bearer.bearer = "{key}"

# A cursor is only what a list has answered with, and a file must hold good rows: no schema can say so.
[[operations]]
include-operation-id = ["list_requests", "webhook", "upload", "webhookTest"]
checks.positive_data_acceptance.enabled = false
"""


@pytest.fixture
async def ingest(environment: dict[str, str], tmp_path: Path, database: Database) -> AsyncIterator[Service]:
    """A running ingest that asks for a key, and lets any number of uploads in."""
    assert database is not None
    settings = {**environment, **FAST, "API_KEYS": f"shop:{KEY}", "UPLOADS_PER_MINUTE": "0"}
    async with services(settings, tmp_path) as system:
        yield await system["ingest"].start()


async def _ended(ingest: Service, database: Database, environment: dict[str, str]) -> tuple[str, str]:
    """Upload, and bring the request to its end with one image; return its id and the image's path."""
    async with httpx.AsyncClient(base_url=ingest.url, headers={"X-API-Key": KEY}) as api:
        answer = await api.post("/api/upload", files={"file": ("c.csv", csv_of(["http://h.example/a"]))})
    request_id = answer.json()["request_id"]
    blob = image_path(request_id, 0, 0, "0123abcd" * 8, "jpg")
    await Blobs(environment["STORAGE_URL"]).put(blob, b"an image")
    image = {"status": ImageStatus.SUCCEEDED, "blob": blob, "bytes_in": 9, "bytes_out": 8, "kept_original": False}
    done = {"status": BatchStatus.COMPLETED, **{f"rows.0.images.0.{name}": value for name, value in image.items()}}
    await database.batches.update_one({"request_id": request_id}, {"$set": done})
    await database.requests.update_one(
        {"_id": request_id},
        {"$set": {"status": RequestStatus.COMPLETED, "images.succeeded": 1}, "$currentDate": {"ended_at": True}},
    )
    return request_id, blob


async def _run(ingest: Service, folder: Path, toml: str, *options: str) -> int:
    """Run schemathesis against the service; return how many cases it made. Fails with all that it found."""
    config = folder / "schemathesis.toml"
    config.write_text(toml)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    command += [f"{ingest.url}/openapi.json", "--seed", str(SEED), *options]
    log = folder / "schemathesis.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=output, stderr=output)
    try:
        status: int | str = await asyncio.wait_for(process.wait(), RUN_SECONDS)
    except TimeoutError:
        process.kill()
        status = f"not done after {RUN_SECONDS} s"
    said = log.read_text()
    assert status == 0, f"{' '.join(command)}: {status}\n{said[-20_000:]}\n{ingest.said()}"
    found = re.search(r"([\d,]+) generated", said)
    assert found, said
    selected = re.search(r"(\d+) selected / (\d+) total", said)
    assert selected, said
    assert int(selected[2]) - int(selected[1]) == len([option for option in options if "exclude" in option])
    return int(found[1].replace(",", ""))


@pytest.mark.timeout(500)
async def test_no_call_is_answered_in_a_way_that_is_not_documented(
    ingest: Service, database: Database, environment: dict[str, str], tmp_path: Path
) -> None:
    """Over 3,000 calls of all operations, with made-up values and real ones, get documented answers, none a 5xx."""
    toml = TOML.format(key=KEY)
    cases = await _run(ingest, tmp_path, toml, "--max-examples=125")
    request_id, blob = await _ended(ingest, database, environment)
    real = f'[parameters]\n"request_id" = "{request_id}"\n"path.path" = "{blob}"\n'
    cases += await _run(ingest, tmp_path, toml + real, "--max-examples=90", *REAL_VALUES)
    assert cases >= LEAST_CASES
    assert "unexpected error" not in ingest.said()
