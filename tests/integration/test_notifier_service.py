"""The notifier service whole, in the test's event loop: woken by the stream, swept, healthy, stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx

from deploy.local.mongod import ReplicaSet
from deploy.local.processes import eventually, free_port
from imagepress.documents import RequestStatus, WebhookState
from imagepress.lifecycle import Stop
from imagepress.metrics import exposition
from imagepress.mongo import Database, connected, server_time
from imagepress.wakeups import Wakeups
from services.notifier import queries
from services.notifier.__main__ import notify
from services.notifier.breaker import OPENS_AFTER
from services.notifier.settings import NotifierSettings
from tests.conftest import MakeSettings
from tests.support.notifying import ended, until_state, webhook_of
from tests.support.origin import held, status
from tests.support.receiver import serve_receiver


@asynccontextmanager
async def _serving(settings: NotifierSettings) -> AsyncIterator[httpx.AsyncClient]:
    """Run the service; yield a client of its health endpoint once it is ready."""
    stop = Stop()
    service = asyncio.create_task(notify(settings, stop))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.notifier_metrics_port}") as client:

        async def is_ready() -> bool:
            try:
                return (await client.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        try:
            await eventually(is_ready)
            yield client
        finally:
            stop.set()
            await asyncio.wait_for(service, 10)


async def test_the_end_of_a_run_is_told_at_once(database: Database, make_settings: MakeSettings) -> None:
    """With sweeps an hour apart, the stream alone brings a webhook that came due on its way, and a metric tells."""
    settings = make_settings(NotifierSettings, sweep_seconds=3600, notifier_metrics_port=free_port())
    async with serve_receiver() as receiver, _serving(settings) as client:
        (request_id,) = await ended(database, receiver.url("/"))
        await until_state(database, request_id, WebhookState.DELIVERED, 5)
        assert len(receiver.received) == 1
        metrics = (await client.get("/metrics")).text
        assert 'imagepress_webhook_attempts_total{outcome="delivered"}' in metrics
        assert "imagepress_webhook_posts 0.0" in metrics


async def test_resting_hosts_and_what_is_given_up_are_measured(database: Database, make_settings: MakeSettings) -> None:
    """A host that failed again and again is counted while it rests, and so is every webhook that was given up."""
    settings = make_settings(NotifierSettings, webhook_schedule_seconds="0", notifier_metrics_port=free_port())
    async with serve_receiver(status(500)) as receiver, _serving(settings) as client:
        before = _figures((await client.get("/metrics")).text)
        assert before["imagepress_webhook_hosts_resting"] == 0
        ids = await ended(database, receiver.url("/"), count=OPENS_AFTER)
        for request_id in ids:
            await until_state(database, request_id, WebhookState.GIVEN_UP)
        after = _figures((await client.get("/metrics")).text)
    given_up = 'imagepress_webhook_attempts_total{outcome="given_up"}'
    assert after[given_up] - before.get(given_up, 0) == OPENS_AFTER
    assert after["imagepress_webhook_hosts_resting"] == 1


async def test_how_late_a_webhook_comes_is_measured_from_the_end_of_its_run(
    database: Database, make_settings: MakeSettings
) -> None:
    """On the database's clock: one that was due for 20 seconds already counts as late by that much."""
    settings = make_settings(NotifierSettings, notifier_metrics_port=free_port())
    late = await server_time(database) - timedelta(seconds=20)
    before = _figures(exposition()[0].decode())
    async with serve_receiver() as receiver:
        (request_id,) = await ended(database, receiver.url("/"), next_attempt_at=late)
        async with _serving(settings) as client:
            await until_state(database, request_id, WebhookState.DELIVERED)
            after = _figures((await client.get("/metrics")).text)
    grown = {name: after[name] - before.get(name, 0) for name in after if "webhook_delay_seconds" in name}
    assert grown["imagepress_webhook_delay_seconds_count"] == 1
    assert 20 <= grown["imagepress_webhook_delay_seconds_sum"] < 50


def _figures(text: str) -> dict[str, float]:
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


async def test_what_brings_nothing_to_send_wakes_no_notifier(database: Database, make_settings: MakeSettings) -> None:
    """A result, of whichever notifier, and a run that begins are passed over; a webhook that is due again is not."""
    stop = Stop()
    settings = make_settings(NotifierSettings, sweep_seconds=600)
    wakeups = Wakeups(settings, stop, ignoring=queries.NO_WORK)
    settled, begun, again = await ended(database, "http://x.test/", count=3)
    touched = {"$currentDate": {"woken_at": True}}
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(wakeups.run())
        turns = aiter(wakeups)
        while not ((await anext(turns)).sweep and wakeups.is_open):
            pass
        for state in (WebhookState.DELIVERED, WebhookState.GIVEN_UP):
            await database.requests.update_one({"_id": settled}, {"$set": {"webhook.state": state}, **touched})
        await database.requests.update_one({"_id": begun}, {"$set": {"status": RequestStatus.PROCESSING}, **touched})
        due = {"webhook.state": WebhookState.DUE, "webhook.tries": 7}
        await database.requests.update_one({"_id": again}, {"$set": due, **touched})
        assert (await anext(turns)).request_ids == {again}
        stop.set()


async def test_the_lease_of_a_dead_notifier_runs_out_and_its_webhook_is_sent(
    database: Database, make_settings: MakeSettings
) -> None:
    """What a killed notifier held is swept up, once its lease has ended and not before, and delivered by another."""
    settings = make_settings(NotifierSettings, sweep_seconds=0.2, notifier_metrics_port=free_port())
    async with serve_receiver() as receiver:
        (dead,) = await ended(database, receiver.url("/"))
        await queries.claim_due(database, queries.ahead(None, ()), worker="dead", seconds=1, limit=1, room=lambda _: 1)
        (alive,) = await ended(database, receiver.url("/"))
        await queries.claim_due(
            database, queries.ahead(None, ()), worker="alive", seconds=3600, limit=1, room=lambda _: 1
        )
        async with _serving(settings):
            await until_state(database, dead, WebhookState.DELIVERED)
        assert [call.json["request_id"] for call in receiver.received] == [dead]
        assert (await webhook_of(database, alive))["lease"]["worker"] == "alive"


async def test_a_result_outlives_the_death_of_the_database(tmp_path: Path, make_settings: MakeSettings) -> None:
    """MongoDB is killed during a POST and comes back later: the service says that it is not ready, then writes the
    result that it kept, nothing is sent twice, and it takes nothing for seen: another primary has another clock."""
    until = asyncio.Event()
    with ReplicaSet(tmp_path / "mongod") as mongo:
        settings = make_settings(
            NotifierSettings,
            mongo_connection_string=mongo.uri,
            database_timeout_seconds=1,
            sweep_seconds=600,
            notifier_metrics_port=free_port(),
        )
        async with (
            connected(settings) as database,
            serve_receiver(held(until, status(200))) as receiver,
            _serving(settings) as health,
        ):
            (request_id,) = await ended(database, receiver.url("/"))

            async def is_sent() -> bool:
                return len(receiver.received) == 1

            await eventually(is_sent)
            long_ago = await server_time(database) - timedelta(hours=1)
            (unseen,) = await ended(database, receiver.url("/"), next_attempt_at=long_ago)
            mongo.members[0].kill()
            until.set()

            async def is_told() -> bool:
                return "database" in (await health.get("/readyz")).json()["problems"]

            await eventually(is_told)
            await asyncio.to_thread(mongo.start)
            for delivered in (request_id, unseen):
                await until_state(database, delivered, WebhookState.DELIVERED)
            assert [call.json["request_id"] for call in receiver.received] == [request_id, unseen]
