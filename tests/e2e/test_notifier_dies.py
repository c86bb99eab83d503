"""Rule 5 with real kills: a notifier that dies at any step of a delivery leads to one more POST, never to silence."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from imagepress.documents import WebhookState
from imagepress.mongo import Database
from tests.support.notifying import attempts_of, ended, until_state, webhook_of
from tests.support.origin import held, status
from tests.support.processes import FAST, Service, eventually, services
from tests.support.receiver import Receiver, serve_receiver

PER_HOST = 8
PATIENT = {**FAST, "WEBHOOK_PER_HOST": str(PER_HOST), "WEBHOOK_TIMEOUT_SECONDS": "5", "LEASE_SECONDS": "60"}
"""No attempt runs into its deadline, and no lease ends by itself, however slow the machine."""


@pytest.fixture
async def notifier(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[Service]:
    """A notifier, not started yet."""
    async with services({**environment, **PATIENT}, tmp_path) as made:
        yield made["notifier"]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that answers 200."""
    async with serve_receiver() as serving:
        yield serving


async def _received(receiver: Receiver, count: int) -> None:
    async def are_there() -> bool:
        return len(receiver.received) >= count

    await eventually(are_there)


def _held_by(dead: Service) -> dict[str, Any]:
    """Return what finds the webhooks that a process holds: its id is the end of the worker's name in the lease."""
    return {"webhook.lease.worker": {"$regex": f":{dead.process.pid}$"}}


async def _let_leases_end(database: Database, dead: Service) -> None:
    """Let the time of the dead pass without waiting for it."""
    past = {"$dateSubtract": {"startDate": "$$NOW", "unit": "second", "amount": 1}}
    await database.requests.update_many(_held_by(dead), [{"$set": {"webhook.lease.expires_at": past}}])


async def _is_delivered_by_the_next(notifier: Service, database: Database, request_id: str) -> None:
    """Start a notifier that does not die, and see the webhook delivered by what counts as its first attempt."""
    await _let_leases_end(database, notifier)
    await notifier.start()
    assert (await until_state(database, request_id, WebhookState.DELIVERED))["tries"] == 1
    assert [attempt["number"] for attempt in await attempts_of(database, request_id)] == [1]


@pytest.mark.parametrize(
    ("step", "posts", "attempts", "posts_in_all"),
    [
        ("in the claim", 0, 0, 1),
        ("before the POST", 0, 0, 1),
        ("after the POST", 1, 0, 2),
        ("in the record", 1, 1, 2),
    ],
)
async def test_before_it_is_recorded_a_delivery_is_repeated_with_the_same_id(
    notifier: Service,
    receiver: Receiver,
    database: Database,
    step: str,
    posts: int,
    attempts: int,
    posts_in_all: int,
) -> None:
    """Killed between the claim and the record of the state: no step of the schedule is used up, the next notifier
    sends the webhook under the same id with the same body, and the log has one entry."""
    (request_id,) = await ended(database, receiver.url("/"))
    await notifier.spawn(sys.executable, "-m", "tests.support.dying_notifier", step)
    assert await asyncio.wait_for(notifier.process.wait(), 30) == -9
    webhook = await webhook_of(database, request_id)
    assert (webhook["state"], webhook["tries"], "lease" in webhook) == (WebhookState.DUE, 0, True)
    assert (len(receiver.received), len(await attempts_of(database, request_id))) == (posts, attempts)

    await _is_delivered_by_the_next(notifier, database, request_id)
    assert len(receiver.received) == posts_in_all
    assert len({(call.headers["webhook-id"], call.body) for call in receiver.received}) == 1


async def test_killed_while_the_receiver_still_thinks_it_is_repeated_with_the_same_id(
    notifier: Service, receiver: Receiver, database: Database
) -> None:
    """Killed during the POST: the receiver, which has it all, is asked once more under the same id."""
    receiver.answer = held(asyncio.Event(), status(200))
    (request_id,) = await ended(database, receiver.url("/"))
    await notifier.start()
    await _received(receiver, 1)
    assert await notifier.kill() == -9
    assert (await webhook_of(database, request_id))["tries"] == 0

    receiver.answer = status(200)
    await _is_delivered_by_the_next(notifier, database, request_id)
    first, second = receiver.received
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)


async def test_after_the_record_nothing_is_repeated(notifier: Service, receiver: Receiver, database: Database) -> None:
    """Killed once the state is written: the next notifier sends what came due since, and not this one again."""
    (first,) = await ended(database, receiver.url("/"))
    await notifier.spawn(sys.executable, "-m", "tests.support.dying_notifier", "after the record")
    assert await asyncio.wait_for(notifier.process.wait(), 30) == -9
    assert (await webhook_of(database, first))["state"] == WebhookState.DELIVERED

    (second,) = await ended(database, receiver.url("/"))
    await _is_delivered_by_the_next(notifier, database, second)
    assert [call.json["request_id"] for call in receiver.received] == [first, second]


async def test_of_two_one_dies_and_only_what_it_was_sending_is_sent_twice(
    notifier: Service, receiver: Receiver, database: Database, environment: dict[str, str], tmp_path: Path
) -> None:
    """Two notifiers share 100 due webhooks; one is killed with its share under way: the other delivers everything,
    repeats the dead one's POSTs alone, and each webhook uses up one step of its schedule."""
    gate = asyncio.Event()
    receiver.answer = held(gate, status(200))
    ids = await ended(database, receiver.url("/"), count=100)
    (tmp_path / "other").mkdir()
    async with services({**environment, **PATIENT}, tmp_path / "other") as made:
        await asyncio.gather(notifier.start(), made["notifier"].start())
        await _received(receiver, 2 * PER_HOST)
        await notifier.kill()
        assert await database.requests.count_documents(_held_by(notifier)) == PER_HOST
        gate.set()
        await _let_leases_end(database, notifier)
        for request_id in ids:
            assert (await until_state(database, request_id, WebhookState.DELIVERED))["tries"] == 1
    times = Counter(call.headers["webhook-id"] for call in receiver.received)
    assert len(times) == len(ids)
    assert Counter(times.values()) == {1: len(ids) - PER_HOST, 2: PER_HOST}
