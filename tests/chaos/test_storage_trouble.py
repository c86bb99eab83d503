"""The image store refuses: batches rest and are tried again, and an image fails only when MAX_CLAIMS is used up."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from imagepress.mongo import Database
from tests.support import origin as origins
from tests.support.calls import status_of, until_ended, upload
from tests.support.origin import Origin, serve_origin
from tests.support.pictures import photo
from tests.support.processes import FAST, Service, eventually, services
from tests.support.uploads import csv_of

IMAGES: Final = 20
EARLY: Final = 4
"""Images of the first batch: stored before the trouble begins."""


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """An origin with one picture under each path."""
    picture = origins.body(photo(1))
    async with serve_origin({f"/{n}": picture for n in range(IMAGES)}) as serving:
        yield serving


@contextmanager
def _folder_is_a_file(folder: Path) -> Iterator[None]:
    """Put a file where the folder was: every write there fails, for root too."""
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.write_bytes(b"")
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


@contextmanager
def _disk_is_full(watcher: Service) -> Iterator[None]:
    """Let no process of the watcher write a file beyond 64 KiB, which its log is far below and the pictures above."""
    pids = [watcher.process.pid, *_children(watcher.process.pid)]
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (65536, hard))
    try:
        yield
    finally:
        for pid, limits in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _hold_back(origin: Origin, first: int) -> asyncio.Event:
    """Let the images from `first` on wait until the event that is returned."""
    gate = asyncio.Event()
    for n in range(first, IMAGES):
        origin.answers[f"/{n}"] = origins.held(gate, origin.answers[f"/{n}"])
    return gate


async def _begin(system: dict[str, Service], origin: Origin) -> tuple[str, asyncio.Event]:
    """Start ingest and watcher and upload; return the request id, with `EARLY` images stored, and the others' gate."""
    await asyncio.gather(system["ingest"].start(), system["watcher"].start())
    gate = _hold_back(origin, EARLY)
    request_id = await upload(system["ingest"], csv_of([origin.url(f"/{n}") for n in range(IMAGES)]))

    async def early_ones_done() -> bool:
        return bool((await status_of(system["ingest"], request_id))["images"]["succeeded"] == EARLY)

    await eventually(early_ones_done)
    return request_id, gate


async def _until_resting(database: Database, request_id: str) -> None:
    async def resting() -> bool:
        return await database.batches.find_one({"request_id": request_id, "lease.resting": True}) is not None

    await eventually(resting)


@pytest.mark.parametrize("trouble", ["the folder is gone", "the disk is full"])
async def test_batches_rest_while_the_store_refuses_and_succeed_when_it_is_back(
    environment: dict[str, str], database: Database, origin: Origin, tmp_path: Path, trouble: str
) -> None:
    """In the middle of a request the store refuses, then is back: every image succeeds, and no process died of it."""
    big = origins.body(photo(2, size=(1600, 1200)))
    for n in range(EARLY, IMAGES):
        origin.answers[f"/{n}"] = big
    async with services({**environment, **FAST}, tmp_path) as system:
        request_id, gate = await _begin(system, origin)
        workers = _children(system["watcher"].process.pid)
        folder = tmp_path / "images"
        with _folder_is_a_file(folder) if "folder" in trouble else _disk_is_full(system["watcher"]):
            gate.set()
            await _until_resting(database, request_id)
            assert (await status_of(system["ingest"], request_id))["status"] == "processing"
        status = await until_ended(system["ingest"], request_id)
        assert status["status"] == "completed"
        assert status["images"] == {"total": IMAGES, "succeeded": IMAGES, "failed": 0}
        assert workers == _children(system["watcher"].process.pid)
        assert len([path for path in folder.rglob("*.jpg") if path.stat().st_size]) == IMAGES
        said = (tmp_path / "watcher.log").read_text()
        assert 1 <= said.count("storing images is paused") <= len(workers)  # once in each process, not for each image
        assert said.count("storing images goes on") == said.count("storing images is paused")


async def test_images_fail_with_the_reason_when_the_store_stays_away(
    environment: dict[str, str], origin: Origin, tmp_path: Path
) -> None:
    """With MAX_CLAIMS used up the rest fails as `storage`, the request ends, and what was stored before stays."""
    async with services({**environment, **FAST, "MAX_CLAIMS": "2"}, tmp_path) as system:
        request_id, gate = await _begin(system, origin)
        with _folder_is_a_file(tmp_path / "images"):
            gate.set()
            status = await until_ended(system["ingest"], request_id)
        assert status["status"] == "completed"
        assert status["images"] == {"total": IMAGES, "succeeded": EARLY, "failed": IMAGES - EARLY}
        errors = [error for row in status["details"] for error in row["errors"]]
        assert [error["code"] for error in errors] == ["storage"] * (IMAGES - EARLY)
        assert all("because: not a directory" in error["message"] for error in errors)
        assert str(tmp_path) not in str(status)
        links = [link for row in status["details"] for link in row["output_image_urls"] if link]
        assert len(links) == EARLY
        assert max(origin.count(f"/{n}") for n in range(IMAGES)) == 2  # a try for each of MAX_CLAIMS, no more
