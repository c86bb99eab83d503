"""The life of a webhook, with a real database and real receivers: due, claimed, sent, recorded, once or again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import webhooks as standardwebhooks
from svix import webhooks as svix

from imagepress.documents import WebhookState
from imagepress.errors import DatabaseUnavailable
from imagepress.lifecycle import Stop
from imagepress.mongo import Database, server_time
from services.notifier import queries
from services.notifier.hosts import Hosts
from services.notifier.loop import Notifier
from services.notifier.send import open_sender
from services.notifier.settings import NotifierSettings
from tests.conftest import MakeSettings
from tests.support.notifying import attempts_of, ended, notifying, until_state, until_tries, webhook_of
from tests.support.origin import held, in_turn, status
from tests.support.processes import eventually
from tests.support.receiver import Call, Receiver, serve_receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
QUICK = "0,0.05,0.05,0.05"


async def _now(database: Database) -> datetime:
    return (await server_time(database)).replace(tzinfo=UTC)


async def _received(receiver: Receiver, count: int) -> None:
    """Wait until the receiver has got so many POSTs."""

    async def has_come() -> bool:
        return len(receiver.received) >= count

    await eventually(has_come, 10)


async def test_a_due_webhook_is_delivered_signed_and_recorded(database: Database, make_settings: MakeSettings) -> None:
    """The receiver gets a body that its library verifies; state and attempt are written, the lease is gone."""
    settings = make_settings(NotifierSettings, webhook_secrets=SECRET, public_base_url="https://x.test")
    async with serve_receiver() as receiver, notifying(database, settings) as running:
        (request_id,) = await ended(database, receiver.url("/hook?token=a%2Fb"))
        running.notifier.wake()
        webhook = await until_state(database, request_id, WebhookState.DELIVERED)
    (call,) = receiver.received
    assert call.path == "/hook?token=a%2Fb"
    assert standardwebhooks.Webhook(SECRET).verify(call.body, dict(call.headers))["request_id"] == request_id
    assert call.json["data"]["status_url"] == f"https://x.test/api/status?request_id={request_id}"
    assert call.headers["content-type"] == "application/json"
    assert call.headers["user-agent"].startswith("imagepress/")
    assert (webhook["tries"], "lease" in webhook, "next_attempt_at" in webhook) == (1, False, False)
    (attempt,) = await attempts_of(database, request_id)
    assert (attempt["_id"], attempt["status_code"], attempt["error"]) == (f"{request_id}/1/1", 200, None)
    assert abs(await _now(database) - attempt["at"]) < timedelta(seconds=10)


async def test_both_reference_libraries_verify_what_arrives_while_a_secret_is_replaced(
    database: Database, make_settings: MakeSettings
) -> None:
    """Over the wire, a receiver with the new secret or the old one believes it; a client's own secret stands alone."""
    old, new, own = SECRET, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_" + 8 * "b3du"
    settings = make_settings(NotifierSettings, webhook_secrets=f"{new},{old},shop={own}")
    async with serve_receiver() as receiver, notifying(database, settings) as running:
        everybodys, theirs = await ended(database, receiver.url("/"), count=2)
        await database.requests.update_one({"_id": theirs}, {"$set": {"client": "shop"}})
        running.notifier.wake()
        for request_id in (everybodys, theirs):
            await until_state(database, request_id, WebhookState.DELIVERED)
    believed = {
        (call.json["request_id"], secret, library.__name__)
        for call in receiver.received
        for secret in (old, new, own)
        for library in (standardwebhooks, svix)
        if _believes(library, secret, call)
    }
    libraries = (standardwebhooks.__name__, svix.__name__)
    assert believed == {
        (request_id, secret, library)
        for request_id, secret in ((everybodys, old), (everybodys, new), (theirs, own))
        for library in libraries
    }


def _believes(library: Any, secret: str, call: Call) -> bool:
    try:
        library.Webhook(secret).verify(call.body, dict(call.headers))
    except library.WebhookVerificationError:
        return False
    return True


async def test_failures_are_tried_again_with_the_same_id_until_one_succeeds(
    database: Database, make_settings: MakeSettings
) -> None:
    """Each attempt has the id and the body of the first, a time of its own, and an entry in the log."""
    settings = make_settings(NotifierSettings, webhook_schedule_seconds=QUICK)
    answers = in_turn(status(500), status(404), status(204))
    async with serve_receiver(answers) as receiver, notifying(database, settings) as running:
        (request_id,) = await ended(database, receiver.url("/"))
        running.notifier.wake()
        await until_state(database, request_id, WebhookState.DELIVERED)
    assert len({(call.headers["webhook-id"], call.body) for call in receiver.received}) == 1
    assert [attempt["status_code"] for attempt in await attempts_of(database, request_id)] == [500, 404, 204]
    assert "webhook-signature" not in receiver.received[0].headers


async def test_the_whole_schedule_ends_in_giving_up(database: Database, make_settings: MakeSettings) -> None:
    """After the last of ten attempts nothing is sent any more, and the log says why."""
    settings = make_settings(NotifierSettings, webhook_schedule_seconds=",".join(["0"] * 10))
    async with serve_receiver(status(404)) as receiver, notifying(database, settings) as running:
        (request_id,) = await ended(database, receiver.url("/"))
        running.notifier.wake()
        webhook = await until_state(database, request_id, WebhookState.GIVEN_UP)
    attempts = await attempts_of(database, request_id)
    assert len(receiver.received) == len(attempts) == webhook["tries"] == 10
    assert [attempt["error"] for attempt in attempts] == [None] * 9 + ["all 10 attempts failed"]


@pytest.mark.parametrize("made", [{}, {"tries": 10, "schedule_from": 10}])
async def test_the_next_attempt_is_due_by_the_schedule_on_the_database_clock(
    database: Database, make_settings: MakeSettings, made: dict[str, int]
) -> None:
    """A failed attempt moves the webhook by the schedule; a redelivery begins that anew, and goes on counting."""
    settings = make_settings(NotifierSettings, webhook_schedule_seconds="0,3600", webhook_jitter=0.5)
    async with serve_receiver(status(500)) as receiver, notifying(database, settings) as running:
        (request_id,) = await ended(database, receiver.url("/"), **made)
        running.notifier.wake()
        webhook = await until_tries(database, request_id, made.get("tries", 0) + 1)
        assert webhook["state"] == WebhookState.DUE
        wait = webhook["next_attempt_at"] - await _now(database)
        assert timedelta(seconds=3590) < wait < timedelta(seconds=5400)
        assert "lease" not in webhook


async def test_two_notifiers_send_a_webhook_once(database: Database, make_settings: MakeSettings) -> None:
    """Of two that look at the same due webhooks, one sends each."""
    settings = make_settings(NotifierSettings)
    async with serve_receiver() as receiver:
        ids = await ended(database, receiver.url("/"), count=40)
        async with notifying(database, settings, "one"), notifying(database, settings, "two"):
            for request_id in ids:
                await until_state(database, request_id, WebhookState.DELIVERED)
    assert sorted(call.json["request_id"] for call in receiver.received) == sorted(ids)


async def test_a_death_between_post_and_record_means_one_more_attempt_with_the_same_id(
    database: Database, make_settings: MakeSettings
) -> None:
    """The lease of the dead runs out, the sweep frees the webhook, no step of its schedule is used up; it is sent."""
    settings = make_settings(NotifierSettings)
    async with serve_receiver() as receiver:
        (request_id,) = await ended(database, receiver.url("/"))
        claims = await queries.claim_due(
            database, queries.ahead(None, ()), worker="dead", seconds=-1, limit=5, room=lambda _: 8
        )
        assert [due.request_id for due in claims.taken] == [request_id]
        assert await queries.expire(database) == 1
        async with notifying(database, settings):
            webhook = await until_state(database, request_id, WebhookState.DELIVERED)
    assert webhook["tries"] == len(receiver.received) == 1
    assert receiver.received[0].headers["webhook-id"] == f"msg_{request_id.replace('-', '')}_1"


async def test_a_notifier_that_lost_its_lease_changes_no_state(database: Database, make_settings: MakeSettings) -> None:
    """While it waited for its receiver the webhook was given to another: only that one's result counts."""
    until = asyncio.Event()
    async with (
        serve_receiver(held(until, status(200))) as receiver,
        notifying(database, make_settings(NotifierSettings)) as running,
    ):
        (request_id,) = await ended(database, receiver.url("/"))
        running.notifier.wake()
        await _received(receiver, 1)
        await database.requests.update_one({"_id": request_id}, {"$set": {"webhook.lease.token": "another"}})
        until.set()

        async def is_recorded() -> bool:
            return bool(await attempts_of(database, request_id))

        await eventually(is_recorded)
    webhook = await webhook_of(database, request_id)
    assert (webhook["state"], webhook["tries"], webhook["lease"]["token"]) == (WebhookState.DUE, 0, "another")


async def test_a_new_run_is_not_marked_by_the_result_of_the_old_one(
    database: Database, make_settings: MakeSettings
) -> None:
    """The client retried the request during the POST: the webhook of the next run is untouched."""
    until = asyncio.Event()
    waiting = {"url": "http://x.test/", "host": "x.test", "state": WebhookState.WAITING, "tries": 0}
    async with (
        serve_receiver(held(until, status(200))) as receiver,
        notifying(database, make_settings(NotifierSettings)) as running,
    ):
        (request_id,) = await ended(database, receiver.url("/"))
        running.notifier.wake()
        await _received(receiver, 1)
        await database.requests.update_one({"_id": request_id}, {"$set": {"run": 2, "webhook": waiting}})
        until.set()
    assert await webhook_of(database, request_id) == waiting


async def test_on_stop_posts_under_way_are_finished_and_recorded(
    database: Database, make_settings: MakeSettings
) -> None:
    """A stop waits for the answer of a receiver that takes its time, and sends nothing new."""
    until = asyncio.Event()
    settings = make_settings(NotifierSettings, webhook_per_host=1)
    async with serve_receiver(held(until, status(200))) as receiver, notifying(database, settings) as running:
        await ended(database, receiver.url("/"), count=3)
        running.notifier.wake()
        await _received(receiver, 1)
        running.stop()
        until.set()
        await running.ended()
    states = [row["webhook"]["state"] async for row in database.requests.find()]
    assert sorted(states) == [WebhookState.DELIVERED, WebhookState.DUE, WebhookState.DUE]
    assert await database.requests.count_documents({"webhook.lease": {"$exists": True}}) == 0
    assert len(receiver.received) == 1


async def test_on_stop_what_does_not_end_in_time_is_given_back(database: Database, make_settings: MakeSettings) -> None:
    """After DRAIN_SECONDS the webhook is free again, with no step of its schedule used up."""
    settings = make_settings(NotifierSettings, drain_seconds=0.1)
    async with serve_receiver(held(asyncio.Event(), status(200))) as receiver, notifying(database, settings) as running:
        (request_id,) = await ended(database, receiver.url("/"))
        running.notifier.wake()
        await _received(receiver, 1)
        running.stop()
        await running.ended(5)
    webhook = await webhook_of(database, request_id)
    assert (webhook["state"], webhook["tries"], "lease" in webhook) == (WebhookState.DUE, 0, False)
    assert await attempts_of(database, request_id) == []


async def test_a_claim_that_came_too_late_is_given_back_unsent(database: Database, make_settings: MakeSettings) -> None:
    """Where the lease could end during the POST, because the database was slow, nothing is sent."""
    settings = make_settings(NotifierSettings)
    slow = settings.model_copy(update={"lease_seconds": settings.webhook_timeout_seconds})
    stop = Stop()
    async with serve_receiver() as receiver, open_sender(slow) as sender, asyncio.TaskGroup() as tasks:
        (request_id,) = await ended(database, receiver.url("/"))
        hosts = Hosts(8, asyncio.get_running_loop().time)
        with pytest.raises(DatabaseUnavailable, match="its lease could end during the POST"):
            await Notifier(database, slow, sender, hosts, name="slow", stop=stop).run_once(tasks)
    assert receiver.connections == 0
    assert "lease" not in await webhook_of(database, request_id)


async def test_a_forbidden_address_is_given_up_and_never_connected_to(
    database: Database, make_settings: MakeSettings
) -> None:
    """A refusal is final: one attempt in the log, none at the listener."""
    settings = make_settings(NotifierSettings, allowed_networks="")
    async with serve_receiver() as receiver, notifying(database, settings) as running:
        (request_id,) = await ended(database, receiver.url("/", "localhost"))
        running.notifier.wake()
        await until_state(database, request_id, WebhookState.GIVEN_UP)
        assert receiver.connections == 0
    (attempt,) = await attempts_of(database, request_id)
    assert "is a loopback address" in attempt["error"]


async def _examined(database: Database, where: queries.Where) -> tuple[int, int]:
    """Return how many keys of its index and how many documents a look examines. Raises where it must sort."""
    command = {
        "find": database.requests.name,
        "filter": where.condition,
        "sort": dict(queries.SOONEST),
        "limit": 100,
        "hint": where.index,
    }
    explained = await database.requests.database.command("explain", command, verbosity="executionStats")
    assert "'stage': 'SORT'" not in str(explained)
    stats = explained["executionStats"]
    return stats["totalKeysExamined"], stats["totalDocsExamined"]


async def test_a_look_costs_what_it_is_about(database: Database) -> None:
    """Whatever is stored, held, settled, due later, due long ago or due at a host left behind: a look ahead examines
    what came due since the last one, and a look at hosts what is due there."""
    now = await _now(database)
    await ended(database, "http://behind.test/", count=300)
    await ended(database, "http://later.test/", count=300, next_attempt_at=now + timedelta(hours=1))
    await ended(database, "http://done.test/", count=300, state=WebhookState.DELIVERED)
    await ended(database, "http://seen.test/", count=300, next_attempt_at=now - timedelta(hours=1))
    await ended(database, "http://free.test/", count=3)
    keys, documents = await _examined(database, queries.ahead(60, ["behind.test"]))
    assert documents == 3
    assert keys <= 300 + 3 + 3  # each that is passed over at the host left behind, and the ends of the range
    keys, documents = await _examined(database, queries.at_hosts(["free.test", "seen.test"]))
    assert documents == 100
    assert keys <= 100 + 2  # the server merges a scan for each host
    assert await _examined(database, queries.at_hosts(["free.test", "done.test"])) == (3, 3)
