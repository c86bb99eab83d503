"""The main job through three real processes: a CSV in, images and a webhook out; and what happens when they die."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from imagepress.mongo import Database
from tests.support import origin as origins
from tests.support.calls import status_of, until_ended, upload
from tests.support.certificates import made_certificates, serving_as
from tests.support.origin import Origin, serve_origin
from tests.support.pictures import looks_like, photo
from tests.support.processes import FAST, Service, eventually, services
from tests.support.receiver import Receiver, serve_receiver
from tests.support.stored import in_folder_and_s3
from tests.support.uploads import HEADER, csv_of

PHOTOS = 8
"""Different pictures that the origin has; URLs differ by their path."""


@pytest.fixture
async def system(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[dict[str, Service]]:
    """The three services on free ports, not started yet."""
    async with services({**environment, **FAST}, tmp_path) as made:
        yield made


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """An origin with `PHOTOS` pictures under /0 to /7, and nothing else."""
    async with serve_origin({f"/{n}": origins.body(photo(n)) for n in range(PHOTOS)}) as serving:
        yield serving


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A webhook receiver that answers 200."""
    async with serve_receiver() as serving:
        yield serving


async def _start(system: dict[str, Service], *names: str) -> None:
    await asyncio.gather(*(system[name].start() for name in names))


def _many(origin: Origin, number: int) -> list[str]:
    """Return URLs of different paths for pictures of the origin; each path is its own answer."""
    for n in range(number):
        origin.answers[f"/many/{n}"] = origin.answers[f"/{n % PHOTOS}"]
    return [origin.url(f"/many/{n}") for n in range(number)]


async def test_images_are_fetched_over_tls(environment: dict[str, str], tmp_path: Path) -> None:
    """From an origin whose certificate the machine trusts, over connections that are kept."""
    certificates = made_certificates(tmp_path)
    trusting = {**environment, **FAST, "SSL_CERT_FILE": str(certificates / "trusted.pem"), "FETCH_PER_HOST": "2"}
    answers = {f"/{n}": origins.body(photo(n)) for n in range(12)}
    async with (
        serve_origin(answers, tls=serving_as(certificates / "good.pem")) as origin,
        services(trusting, tmp_path) as made,
    ):
        await _start(made, "ingest", "watcher")
        request_id = await upload(made["ingest"], csv_of([origin.url(path) for path in answers]))
        status = await until_ended(made["ingest"], request_id)
        assert status["images"] == {"total": 12, "succeeded": 12, "failed": 0}
        assert (origin.connections <= 4, len(origin.requests)) == (True, 12)  # of two processes


@in_folder_and_s3
async def test_a_csv_goes_in_and_compressed_images_and_a_webhook_come_out(
    system: dict[str, Service], origin: Origin, receiver: Receiver
) -> None:
    """The contract's CSV shapes, one image that fails, every link readable and of the right picture, one webhook."""
    await _start(system, "ingest", "watcher", "notifier")
    rows = (
        f"1,SKU1,{origin.url('/0')}, {origin.url('/1')}\n"
        f"2,SKU2,{origin.url('/nothing')}\n"
        f'3,SKU3,"{origin.url("/2")},{origin.url("/3")}"\n'
    )
    request_id = await upload(system["ingest"], (HEADER + rows).encode(), receiver.url("/hook"))
    status = await until_ended(system["ingest"], request_id)
    assert status["status"] == "completed"
    assert status["images"] == {"total": 5, "succeeded": 4, "failed": 1}
    assert [row["product_name"] for row in status["details"]] == ["SKU1", "SKU2", "SKU3"]
    assert status["details"][1]["output_image_urls"] == [None]
    assert [error["code"] for error in status["details"][1]["errors"]] == ["http_404"]
    async with httpx.AsyncClient() as client:
        for row in (status["details"][0], status["details"][2]):
            for source, link in zip(row["input_image_urls"], row["output_image_urls"], strict=True):
                answer = await client.get(link)
                assert answer.headers["content-type"] == "image/jpeg"
                assert looks_like(answer.content, photo(int(source.rpartition("/")[2])))

    async def called() -> bool:
        return len(receiver.received) > 0

    await eventually(called)
    [call] = receiver.received
    assert call.json["type"] == "request.completed"
    assert call.json["request_id"] == request_id
    assert call.json["images"] == status["images"]

    async def delivered() -> bool:
        return bool((await status_of(system["ingest"], request_id))["webhook"]["state"] == "delivered")

    await eventually(delivered)


async def test_a_watcher_that_was_away_takes_up_what_came_meanwhile(system: dict[str, Service], origin: Origin) -> None:
    """Stop the watcher, upload, start it: processed, without any event."""
    await _start(system, "ingest", "watcher")
    assert await system["watcher"].kill(signal.SIGTERM) == 0
    request_id = await upload(system["ingest"], csv_of(_many(origin, 10)))
    await system["watcher"].start()
    assert (await until_ended(system["ingest"], request_id))["images"] == {"total": 10, "succeeded": 10, "failed": 0}


async def test_a_notifier_that_was_away_delivers_what_came_due_meanwhile(
    system: dict[str, Service], origin: Origin, receiver: Receiver
) -> None:
    """Stop the notifier, let a request end, start it: the webhook arrives, once."""
    await _start(system, "ingest", "watcher", "notifier")
    assert await system["notifier"].kill(signal.SIGTERM) == 0
    request_id = await upload(system["ingest"], csv_of(_many(origin, 3)), receiver.url("/hook"))
    assert (await until_ended(system["ingest"], request_id))["webhook"]["state"] == "due"
    await system["notifier"].start()

    async def delivered() -> bool:
        return bool((await status_of(system["ingest"], request_id))["webhook"]["state"] == "delivered")

    await eventually(delivered)
    assert len(receiver.received) == 1


@in_folder_and_s3
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_watcher_that_dies_in_the_middle_loses_nothing(
    system: dict[str, Service], origin: Origin, number: signal.Signals
) -> None:
    """Kill the watcher in the middle of a request and start it again: completed, and the counts are exact."""
    gate = asyncio.Event()
    urls = _many(origin, 60)
    for n in range(30, 60):
        origin.answers[f"/many/{n}"] = origins.held(gate, origin.answers[f"/many/{n}"])
    await _start(system, "ingest", "watcher")
    request_id = await upload(system["ingest"], csv_of(urls))

    async def in_the_middle() -> bool:
        done = (await status_of(system["ingest"], request_id))["images"]["succeeded"]
        return bool(0 < done < 60)

    await eventually(in_the_middle)
    await system["watcher"].kill(number)
    gate.set()
    await system["watcher"].start()
    status = await until_ended(system["ingest"], request_id)
    assert status["images"] == {"total": 60, "succeeded": 60, "failed": 0}
    assert all(None not in row["output_image_urls"] for row in status["details"])


@in_folder_and_s3
async def test_a_worker_process_that_dies_is_replaced(system: dict[str, Service], origin: Origin) -> None:
    """Kill every worker process below the supervisor: others take their places and finish the request."""
    gate = asyncio.Event()
    urls = _many(origin, 20)
    origin.answers["/many/3"] = origins.held(gate, origin.answers["/many/3"])
    await _start(system, "ingest", "watcher")
    request_id = await upload(system["ingest"], csv_of(urls))

    async def working() -> bool:
        return origin.count("/many/3") > 0

    await eventually(working)
    for child in _children(system["watcher"].process.pid):
        child.send_signal(signal.SIGKILL)
    gate.set()
    assert (await until_ended(system["ingest"], request_id))["images"]["succeeded"] == 20
    async with httpx.AsyncClient() as client:
        assert "imagepress_worker_deaths_total 2.0" in (await client.get(f"{system['watcher'].url}/metrics")).text


class _Child:
    def __init__(self, pid: int) -> None:
        self.pid = pid

    def send_signal(self, number: signal.Signals) -> None:
        import os

        os.kill(self.pid, number)


def _children(pid: int) -> list[_Child]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert listed
    return [_Child(int(child)) for child in listed]


async def test_uploads_are_refused_while_mongodb_is_away(system: dict[str, Service], database: Database) -> None:
    """With no primary in reach the ingest answers 503 with Retry-After, is not ready, and stores nothing."""
    await _start(system, "ingest")
    # As far as the service can tell, a primary that has stepped down and finds no other is a database that is away.
    await database.client.admin.command("replSetStepDown", 6, force=True)
    async with httpx.AsyncClient(base_url=system["ingest"].url, timeout=60) as client:
        answer = await client.post("/api/upload", files={"file": ("c.csv", csv_of(["http://127.0.0.1:1/a"]))})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.headers["content-type"] == "application/problem+json"
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/livez")).status_code == 200
    await system["ingest"].until_ready()
    assert await database.requests.count_documents({}) == 0
