"""What badly behaved receivers bring about: told apart in the log, given the time they ask for, reached once well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from imagepress.documents import WebhookState
from imagepress.lifecycle import Stop
from imagepress.mongo import Database
from services.notifier.__main__ import notify
from services.notifier.breaker import FIRST_SECONDS, OPENS_AFTER
from services.notifier.settings import NotifierSettings
from tests.bench.system import peak_mb
from tests.conftest import MakeSettings
from tests.support.notifying import attempts_of, ended, notifying, until_state, until_tries, webhook_of
from tests.support.origin import (
    Answer,
    body,
    gzip_bomb,
    in_turn,
    raw,
    redirect,
    reset,
    silent,
    status,
)
from tests.support.processes import FAST, eventually, services
from tests.support.receiver import serve_receiver

ELSEWHERE = "127.0.0.9"
"""A private address that webhooks may not be sent to, with a listener that counts."""

LEAST = timedelta(milliseconds=2)
"""What two clocks that count in milliseconds may differ by."""


@asynccontextmanager
async def _at_work(make_settings: MakeSettings, **values: Any) -> AsyncIterator[None]:
    """Run the service with a short deadline and schedule, allowed to reach 127.0.0.1 and nothing else."""
    quick = {
        "allowed_networks": "127.0.0.1/32",
        "webhook_timeout_seconds": 2,  # what never answers is waited for; what does is not cut off on a busy machine
        "webhook_connect_seconds": 2,
        "webhook_schedule_seconds": "0,0.05",
        "sweep_seconds": 0.5,
        "notifier_metrics_port": 0,
    }
    stop = Stop()
    service = asyncio.create_task(notify(make_settings(NotifierSettings, **{**quick, **values}), stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(service, 10)


def _drips_its_head(seconds: float) -> Answer:
    """Send the status line itself a byte every `seconds`."""

    async def write(writer: asyncio.StreamWriter) -> bool:
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(seconds)
        return True

    return write


@pytest.mark.parametrize(
    ("bad", "code", "error"),
    [
        (silent(), None, "no answer in time"),
        (_drips_its_head(1), None, "no answer in time"),
        (reset(), None, "the connection broke off"),
        (raw(b"\x15\x03\x01 not HTTP"), None, "the answer is not proper HTTP"),
        (body(b"x" * 10_000_000, code=500), 500, None),
        (status(503, {"Retry-After": "soon"}), 503, None),
        (status(404), 404, None),
    ],
    ids=["silent", "dripping", "reset", "garbage", "10 MB", "503", "404"],
)
async def test_a_receiver_that_recovers_gets_its_webhook(
    database: Database, make_settings: MakeSettings, bad: Answer, code: int | None, error: str | None
) -> None:
    """The log says what went wrong the first time; the second attempt, under the same id, is the last."""
    async with serve_receiver(in_turn(bad, status(200))) as receiver, _at_work(make_settings):
        (request_id,) = await ended(database, receiver.url("/"))
        await until_state(database, request_id, WebhookState.DELIVERED)
    first, second = await attempts_of(database, request_id)
    assert (first["status_code"], first["error"], second["status_code"]) == (code, error, 200)
    assert len({call.headers["webhook-id"] for call in receiver.received}) == 1
    assert len(receiver.received) == 2


async def test_huge_answers_cost_no_memory(database: Database, environment: dict[str, str], tmp_path: Path) -> None:
    """Twenty bombs of 200 MB and twenty answers of 10 MB leave the process as small as it was."""
    bomb, large = gzip_bomb(200_000_000), body(b"x" * 10_000_000)
    async with (
        services({**environment, **FAST}, tmp_path) as made,
        serve_receiver(bomb) as bombs,
        serve_receiver(large) as larges,
        serve_receiver() as usual,
    ):
        notifier = await made["notifier"].start()
        for request_id in await ended(database, usual.url("/"), count=40):
            await until_state(database, request_id, WebhookState.DELIVERED)
        before = peak_mb(notifier.process.pid)
        ids = await ended(database, bombs.url("/"), count=20) + await ended(database, larges.url("/"), count=20)
        for request_id in ids:
            await until_state(database, request_id, WebhookState.DELIVERED)
        assert peak_mb(notifier.process.pid) - before < 16


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_leads_nowhere(database: Database, make_settings: MakeSettings, code: int) -> None:
    """Sent to a listener at a private address, a webhook fails like any other; the listener sees no connection."""
    async with (
        serve_receiver(host=ELSEWHERE) as elsewhere,
        serve_receiver(redirect(elsewhere.url("/", ELSEWHERE), code)) as receiver,
        _at_work(make_settings),
    ):
        (request_id,) = await ended(database, receiver.url("/"))
        await until_state(database, request_id, WebhookState.GIVEN_UP)
        assert elsewhere.connections == 0
    assert [attempt["status_code"] for attempt in await attempts_of(database, request_id)] == [code, code]


async def test_a_private_address_is_given_up_at_once(database: Database, make_settings: MakeSettings) -> None:
    """A refusal of ours is final: one entry in the log, no connection, and no second attempt is due."""
    async with serve_receiver(host=ELSEWHERE) as elsewhere, _at_work(make_settings):
        (request_id,) = await ended(database, elsewhere.url("/", ELSEWHERE))
        webhook = await until_state(database, request_id, WebhookState.GIVEN_UP)
        assert elsewhere.connections == 0
    (attempt,) = await attempts_of(database, request_id)
    assert (attempt["status_code"], webhook["tries"], "next_attempt_at" in webhook) == (None, 1, False)
    assert f"the address is refused: {ELSEWHERE}" in attempt["error"]


async def test_410_is_final(database: Database, make_settings: MakeSettings) -> None:
    """A receiver that is gone for good is believed: the schedule has more attempts, and none is made."""
    async with serve_receiver(in_turn(status(410), status(200))) as receiver, _at_work(make_settings):
        (request_id,) = await ended(database, receiver.url("/"))
        await until_state(database, request_id, WebhookState.GIVEN_UP)
        (later,) = await ended(database, receiver.url("/"))
        await until_state(database, later, WebhookState.DELIVERED)
    assert [call.json["request_id"] for call in receiver.received] == [request_id, later]


def _in_a_minute() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=61), usegmt=True)  # the format has no fractions


@pytest.mark.parametrize("code", [429, 502, 503, 504])
@pytest.mark.parametrize("form", [lambda: "60", _in_a_minute], ids=["seconds", "date"])
async def test_no_attempt_comes_earlier_than_asked(
    database: Database, make_settings: MakeSettings, code: int, form: Callable[[], str]
) -> None:
    """A Retry-After of a minute in either form outweighs a schedule of 50 ms; jitter is on top of it."""
    async with (
        serve_receiver(status(code, {"Retry-After": form()})) as receiver,
        _at_work(make_settings, webhook_jitter=0.5),
    ):
        asked = datetime.now(UTC) + timedelta(seconds=60)
        (request_id,) = await ended(database, receiver.url("/"))
        webhook = await until_tries(database, request_id, 1)
    assert asked - LEAST <= webhook["next_attempt_at"] <= asked + timedelta(seconds=1.5 * 60 + 10)
    assert len(receiver.received) == 1


async def test_what_was_asked_for_outlasts_the_rest_of_a_host(database: Database, make_settings: MakeSettings) -> None:
    """A host asks for 20 seconds, rests for 30, and is well at its probe: what failed waits for the 20 at least."""
    settings = make_settings(NotifierSettings, webhook_per_host=1, webhook_schedule_seconds="0,0.05")
    put_off = {"webhook.not_before": {"$exists": True}}
    async with (
        serve_receiver(status(503, {"Retry-After": "20"})) as receiver,
        notifying(database, settings) as running,
    ):
        ids = await ended(database, receiver.url("/"), count=OPENS_AFTER)
        running.notifier.wake()

        async def are_put_off() -> bool:
            return await database.requests.count_documents(put_off) == OPENS_AFTER

        await eventually(are_put_off)
        receiver.answer = status(200)
        running.clock.ahead = FIRST_SECONDS
        await ended(database, receiver.url("/"))
        running.notifier.wake()

        async def are_brought_forward() -> bool:
            return await database.requests.count_documents(put_off) == 0

        await eventually(are_brought_forward)
    assert len(receiver.received) == OPENS_AFTER + 1
    for request_id in ids:
        (attempt,) = await attempts_of(database, request_id)
        due = (await webhook_of(database, request_id))["next_attempt_at"]
        assert due >= attempt["at"] + timedelta(seconds=20) - LEAST
