"""A rolling update under load: the previous release's services are replaced one by one by the present ones."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from imagepress.documents import ENDED, SCHEMA, BatchStatus, WebhookState
from imagepress.mongo import Database
from tests.support import origin as origins
from tests.support.calls import until_ended, upload
from tests.support.origin import serve_origin
from tests.support.pictures import photo
from tests.support.processes import FAST, Service, eventually, services
from tests.support.receiver import serve_receiver
from tests.support.release import unpack
from tests.support.uploads import csv_of

PREVIOUS: Final = "9a96ea5"
"""The release before this one, as it lies in `releases`: whoever releases puts the next one there."""

IMAGES: Final = 6  # two batches
CLIENTS: Final = 3
PATIENCE: Final = 60.0  # seconds, on a machine that others keep busy
SLOTS: Final = ("a", "b")
MOVES: Final = [
    ("ingest", "a"),
    ("notifier", "a"),
    # Until here old watchers worked on what the new ingest accepted; soon only new ones are left for the old ingest's.
    ("watcher", "a"),
    ("watcher", "b"),
    ("ingest", "b"),
    ("notifier", "b"),
]
"""What is replaced, in this order: name and slot."""

Replicas = dict[str, dict[str, Service]]
"""Slot, then name, to service."""

pytestmark = pytest.mark.timeout(600)  # twelve services are started, on a machine that may be busy

# A lease that nobody could wait for here: what changes hands was given back, and did not run out.
PATIENT: Final = {**FAST, "LEASE_SECONDS": "600", "WATCHER_PROCESSES": "1", "WEBHOOK_TIMEOUT_SECONDS": "5"}


class Entrance:
    """What a load balancer does: uploads go in turn to the ingests in rotation, and none of them is cut off."""

    def __init__(self) -> None:
        """No ingest is in rotation yet."""
        self.accepted: list[str] = []
        self._rotation: list[Service] = []
        self._busy: Counter[Service] = Counter()
        self._turn = itertools.count()

    def add(self, ingest: Service) -> None:
        """Send uploads to it, too."""
        self._rotation.append(ingest)

    async def remove(self, ingest: Service) -> None:
        """Send it no more, and wait until it has answered what it was sent."""
        self._rotation.remove(ingest)

        async def idle() -> bool:
            return not self._busy[ingest]

        await eventually(idle, PATIENCE)

    async def upload(self, content: bytes, webhook_url: str) -> str:
        """Upload a file, and note its request as accepted. Raises `AssertionError` for any other answer."""
        ingest = self._rotation[next(self._turn) % len(self._rotation)]
        self._busy[ingest] += 1
        try:
            request_id = await upload(ingest, content, webhook_url)
        finally:
            self._busy[ingest] -= 1
        self.accepted.append(request_id)
        return request_id

    async def has_taken(self, more: int) -> None:
        """Wait until `more` uploads were accepted from now on."""
        wanted = len(self.accepted) + more

        async def taken() -> bool:
            return len(self.accepted) >= wanted

        await eventually(taken, PATIENCE)


@asynccontextmanager
async def _load(entrance: Entrance, database: Database, content: bytes, webhook_url: str) -> AsyncIterator[None]:
    """Have several clients upload, wait for the end of the request, and upload again, until the context ends."""
    ending = asyncio.Event()

    async def be_a_client() -> None:
        while not ending.is_set():
            await _has_ended(database, await entrance.upload(content, webhook_url))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CLIENTS):
            tasks.create_task(be_a_client())
        try:
            yield
        finally:
            ending.set()


async def _has_ended(database: Database, request_id: str) -> None:
    ended = {"_id": request_id, "status": {"$in": ENDED}}

    async def has_ended() -> bool:
        return await database.requests.count_documents(ended) == 1

    await eventually(has_ended, PATIENCE)


async def _stop_in_the_middle_of_an_upload(ingest: Service, content: bytes) -> str:
    """Send SIGTERM to an ingest that has half of a file, then the other half; return the id of the request."""
    half_is_sent, stopping = asyncio.Event(), asyncio.Event()
    half = len(content) // 2

    async def body() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="c.csv"\r\n\r\n' + content[:half]
        half_is_sent.set()
        await stopping.wait()
        yield content[half:] + b"\r\n--x--\r\n"

    async def is_stopping() -> bool:
        return '"event": "stopping"' in ingest.said()

    async with httpx.AsyncClient(base_url=ingest.url, timeout=60) as client:
        await client.get("/livez")  # the connection that is used again below is known to have been accepted
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        sending = asyncio.create_task(client.post("/api/upload", content=body(), headers=headers))
        await half_is_sent.wait()
        ended = asyncio.create_task(ingest.kill(signal.SIGTERM))
        await eventually(is_stopping, PATIENCE)
        stopping.set()
        answer = await sending
    assert answer.status_code == 200, answer.text
    assert await ended == 0, ingest.said()
    request_id: str = answer.json()["request_id"]
    return request_id


@asynccontextmanager
async def _replicas(settings: dict[str, str], folder: Path) -> AsyncIterator[Replicas]:
    """Yield two replicas of each service, not started."""
    async with AsyncExitStack() as stack:
        made = {}
        for slot in SLOTS:
            (folder / slot).mkdir(parents=True)
            made[slot] = await stack.enter_async_context(services(settings, folder / slot))
        yield made


async def _start(service: Service) -> None:
    await service.spawn()
    await service.until_ready(PATIENCE)


async def _update(entrance: Entrance, old: Replicas, new: Replicas, content: bytes) -> list[str]:
    """Replace one service after the other; return the requests whose upload was under way when their ingest stopped."""
    halved: list[str] = []
    for name, slot in MOVES:
        leaving, coming = old[slot][name], new[slot][name]
        if name == "ingest":
            await entrance.remove(leaving)
            halved.append(await _stop_in_the_middle_of_an_upload(leaving, content))
        else:
            assert await leaving.kill(signal.SIGTERM) == 0, leaving.said()
        await _start(coming)
        if name == "ingest":
            entrance.add(coming)
        await entrance.has_taken(CLIENTS)
    return halved


async def test_a_rolling_update_loses_nothing(environment: dict[str, str], database: Database, tmp_path: Path) -> None:
    """Two replicas of each service are replaced one by one under load: every upload is accepted, every image comes out,
    every webhook arrives, and nobody had to wait for a lease to run out."""
    photos = {f"/{n}": origins.body(photo(n)) for n in range(IMAGES)}
    present = {**environment, **PATIENT}
    previous = {**present, **unpack(PREVIOUS, tmp_path / "release")}
    entrance = Entrance()
    async with (
        serve_origin(photos) as origin,
        serve_receiver() as receiver,
        _replicas(previous, tmp_path / "old") as old,
        _replicas(present, tmp_path / "new") as new,
    ):
        await asyncio.gather(*(_start(service) for made in old.values() for service in made.values()))
        for made in old.values():
            entrance.add(made["ingest"])
        content = csv_of([origin.url(path) for path in photos])
        async with _load(entrance, database, content, receiver.url("/hook")):
            await entrance.has_taken(CLIENTS)
            halved = await _update(entrance, old, new, content)
        for request_id in (*entrance.accepted, *halved):
            status = await until_ended(new["a"]["ingest"], request_id, PATIENCE)
            assert status["images"] == {"total": IMAGES, "succeeded": IMAGES, "failed": 0}
        await _are_delivered(database, len(entrance.accepted))
    assert {call.json["request_id"] for call in receiver.received} == set(entrance.accepted)
    assert await database.batches.count_documents({"status": {"$ne": BatchStatus.COMPLETED}}) == 0
    assert await database.batches.count_documents({"expiries": {"$gt": 0}}) == 0
    # Both releases have written what the other worked on: the previous one puts no schema into batches.
    assert await database.batches.count_documents({"schema": {"$exists": False}}) > 0
    assert await database.batches.count_documents({"schema": SCHEMA}) > 0


async def _are_delivered(database: Database, webhooks: int) -> None:
    async def are_delivered() -> bool:
        return await database.requests.count_documents({"webhook.state": WebhookState.DELIVERED}) == webhooks

    await eventually(are_delivered, PATIENCE)
