"""SIGTERM to a busy service: it finishes or gives back within DRAIN_SECONDS; a second signal ends it at once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from imagepress.mongo import Database
from tests.bench.system import children_of
from tests.support import origin as origins
from tests.support.calls import until_ended, upload
from tests.support.half_upload import half_upload
from tests.support.load import at_once
from tests.support.origin import Origin, serve_origin
from tests.support.pictures import photo
from tests.support.processes import FAST, Service, eventually, services
from tests.support.receiver import Receiver, serve_receiver
from tests.support.uploads import csv_of

DRAIN_SECONDS = 4
SLOW = {
    **FAST,
    "DRAIN_SECONDS": str(DRAIN_SECONDS),
    # POSTs that nothing ends but an answer: the lease must outlast them.
    "WEBHOOK_TIMEOUT_SECONDS": "60",
    "LEASE_SECONDS": "600",
    "WATCHER_PROCESSES": "1",
}


@dataclass
class Busy:
    """The three services, and whom they have to do with."""

    system: dict[str, Service]
    origin: Origin
    receiver: Receiver

    @property
    def content(self) -> bytes:
        return csv_of([self.origin.url("/0")])


@pytest.fixture
async def busy(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[Busy]:
    """The three services, running, with nothing to do yet."""
    async with (
        serve_origin({"/0": origins.body(photo(0))}) as origin,
        serve_receiver() as receiver,
        services({**environment, **SLOW}, tmp_path) as system,
    ):
        await asyncio.gather(*(service.start() for service in system.values()))
        yield Busy(system, origin, receiver)


async def _is_closed(ingest: Service) -> bool:
    async with httpx.AsyncClient() as client:
        try:
            await client.get(f"{ingest.url}/livez")
        except httpx.ConnectError:
            return True
        except (httpx.RemoteProtocolError, httpx.ReadError):
            return False  # it knocked in the very moment that the door was closed: the next look tells
    return False


async def _is_stopping(service: Service) -> bool:
    return '"event": "stopping"' in service.said()


async def _is_called(receiver: Receiver, times: int = 1) -> bool:
    return len(receiver.received) >= times


async def test_an_upload_that_is_coming_in_is_accepted_before_the_end(busy: Busy) -> None:
    """SIGTERM in the middle of an upload: nothing new is let in, this one is read to its end and answered with 200."""
    ingest = busy.system["ingest"]
    async with half_upload(ingest, busy.content) as half:
        stopping = asyncio.create_task(ingest.kill(signal.SIGTERM))
        await eventually(partial(_is_closed, ingest))
        done, _ = await asyncio.wait({stopping}, timeout=0.5)
        assert not done, "it does not wait for the upload"
        assert await half.finish() == b"HTTP/1.1 200 OK\r\n"
    assert await stopping == 0, ingest.said()


async def test_an_upload_that_does_not_come_to_an_end_is_cut_off(busy: Busy) -> None:
    """SIGTERM, and the client sends no more: the ingest waits for a while, and exits with 0 before DRAIN_SECONDS."""
    ingest = busy.system["ingest"]
    async with half_upload(ingest, busy.content):
        began = time.monotonic()
        assert await ingest.kill(signal.SIGTERM) == 0, ingest.said()
        assert DRAIN_SECONDS / 2 < time.monotonic() - began < DRAIN_SECONDS - 1 + at_once()


async def test_a_webhook_under_way_is_sent_to_its_end(busy: Busy) -> None:
    """SIGTERM while a receiver takes its time: its answer is waited for and recorded before the end."""
    gate = asyncio.Event()
    busy.receiver.answer = origins.held(gate, origins.status(200))
    request_id = await upload(busy.system["ingest"], busy.content, busy.receiver.url("/hook"))
    await eventually(partial(_is_called, busy.receiver))
    notifier = busy.system["notifier"]
    stopping = asyncio.create_task(notifier.kill(signal.SIGTERM))
    await eventually(partial(_is_stopping, notifier))
    gate.set()
    assert await stopping == 0, notifier.said()
    status = await until_ended(busy.system["ingest"], request_id)
    assert status["webhook"] == {"state": "delivered", "tries": 1, "next_attempt_at": None}


async def test_a_webhook_that_takes_too_long_is_given_back(
    busy: Busy, environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    """No answer while there is time: the notifier exits with 0 before DRAIN_SECONDS; another has the webhook soon."""
    other = tmp_path / "other"
    other.mkdir()
    async with _sending_to_a_silent_receiver(busy), services({**environment, **SLOW}, other) as others:
        await others["notifier"].start()
        began = time.monotonic()
        stopping = asyncio.create_task(busy.system["notifier"].kill(signal.SIGTERM))
        busy.receiver.answer = origins.status(200)

        async def is_free() -> bool:
            held = {"webhook.lease.worker": {"$regex": f":{busy.system['notifier'].process.pid}$"}}
            return await database.requests.count_documents(held) == 0

        await eventually(is_free)
        given_back = time.monotonic()
        await eventually(partial(_is_called, busy.receiver, 2))
        assert time.monotonic() - given_back < at_once()
        assert await stopping == 0, busy.system["notifier"].said()
        assert time.monotonic() - began < DRAIN_SECONDS - 1 + at_once()
        assert len({call.headers["webhook-id"] for call in busy.receiver.received}) == 1


@asynccontextmanager
async def _receiving_half_an_upload(busy: Busy) -> AsyncIterator[None]:
    async with half_upload(busy.system["ingest"], busy.content):
        yield


@asynccontextmanager
async def _waiting_for_a_halted_worker(busy: Busy) -> AsyncIterator[None]:
    busy.origin.answers["/0"] = origins.silent()
    await upload(busy.system["ingest"], busy.content)
    await busy.origin.reached(lambda seen: seen.open_now == 1, seconds=20)
    [worker] = children_of(busy.system["watcher"].process.pid)
    os.kill(worker, signal.SIGSTOP)
    yield
    assert not await asyncio.to_thread(Path(f"/proc/{worker}").exists)


@asynccontextmanager
async def _sending_to_a_silent_receiver(busy: Busy) -> AsyncIterator[None]:
    busy.receiver.answer = origins.silent()
    await upload(busy.system["ingest"], busy.content, busy.receiver.url("/hook"))
    await eventually(partial(_is_called, busy.receiver))
    yield


@pytest.mark.parametrize(
    ("name", "being_busy"),
    [
        ("ingest", _receiving_half_an_upload),
        ("watcher", _waiting_for_a_halted_worker),
        ("notifier", _sending_to_a_silent_receiver),
    ],
)
async def test_a_second_signal_ends_a_busy_service_at_once(
    busy: Busy, name: str, being_busy: Callable[[Busy], AbstractAsyncContextManager[None]]
) -> None:
    """It does not wait for what it is busy with, it exits with 1 without an error, and no process of it is left."""
    async with being_busy(busy):
        service = busy.system[name]
        stopping = asyncio.create_task(service.kill(signal.SIGTERM))
        await eventually(partial(_is_stopping, service))
        assert not stopping.done()
        began = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        assert await stopping == 1
        assert time.monotonic() - began < at_once()
        assert "a task died" not in service.said()
