"""What hosts get: their share at once and no more, a rest when they fail, and nobody waits for anybody else's host."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from imagepress.documents import WebhookState
from imagepress.mongo import Database, server_time
from services.notifier import queries
from services.notifier.breaker import FIRST_SECONDS, OPENS_AFTER
from services.notifier.queries import Where
from services.notifier.rest_queries import bring_forward, put_off
from services.notifier.settings import NotifierSettings
from tests.conftest import MakeSettings
from tests.support.notifying import ended, notifying, until_state, until_tries, webhook_of
from tests.support.origin import held, status
from tests.support.processes import eventually
from tests.support.receiver import serve_receiver

SLOW, QUICK = "127.0.0.1", "127.0.0.2"


async def _now(database: Database) -> datetime:
    return (await server_time(database)).replace(tzinfo=UTC)


async def test_a_slow_host_with_many_due_does_not_delay_another(
    database: Database, make_settings: MakeSettings
) -> None:
    """With 200 due before it at a host that never answers, another host's webhook is delivered; the slow one has its
    share of connections, and no more of its webhooks are claimed than are being sent."""
    settings = make_settings(NotifierSettings, webhook_per_host=4, webhook_concurrency=16, drain_seconds=0.1)
    async with serve_receiver(held(asyncio.Event(), status(200))) as slow, serve_receiver(host=QUICK) as quick:
        await ended(database, slow.url("/", SLOW), count=200)
        (last,) = await ended(database, quick.url("/", QUICK))
        async with notifying(database, settings):
            await until_state(database, last, WebhookState.DELIVERED, 5)
            assert await database.requests.count_documents({"webhook.lease": {"$exists": True}}) == 4
            assert slow.connections <= 4


async def test_all_places_taken_are_given_to_others_one_by_one(database: Database, make_settings: MakeSettings) -> None:
    """With fewer places than webhooks each is sent in its time, never more at once than WEBHOOK_CONCURRENCY."""
    settings = make_settings(NotifierSettings, webhook_concurrency=3)
    async with serve_receiver() as receiver:
        ids = await ended(database, receiver.url("/"), count=30)
        async with notifying(database, settings):
            for request_id in ids:
                await until_state(database, request_id, WebhookState.DELIVERED)
    assert len(receiver.received) == 30
    assert receiver.connections <= 3


async def test_a_failing_host_rests_with_all_that_is_due_there_and_is_probed_by_one(
    database: Database, make_settings: MakeSettings
) -> None:
    """After failures in a row the rest moves past the probe by one update, without a step being used up; a probe that
    succeeds brings it back, but nothing before it was due."""
    settings = make_settings(NotifierSettings, webhook_per_host=1, webhook_schedule_seconds="0,3600")
    async with serve_receiver(status(503)) as receiver:
        await ended(database, receiver.url("/"), count=OPENS_AFTER)
        waiting = await ended(database, receiver.url("/"), count=20)
        later = await _now(database) + timedelta(seconds=10)
        (asked,) = await ended(database, receiver.url("/"), next_attempt_at=later)
        async with notifying(database, settings) as running:

            async def are_put_off() -> bool:
                return await database.requests.count_documents({"webhook.not_before": {"$exists": True}}) == 21

            await eventually(are_put_off)
            assert len(receiver.received) == OPENS_AFTER
            moved = await webhook_of(database, waiting[0])
            rest = moved["next_attempt_at"] - await _now(database)
            assert timedelta(seconds=FIRST_SECONDS - 5) < rest < timedelta(seconds=FIRST_SECONDS * 1.2)
            assert (moved["tries"], moved["state"]) == (0, WebhookState.DUE)

            receiver.answer = status(200)
            running.clock.ahead = FIRST_SECONDS
            (probe,) = await ended(database, receiver.url("/"))
            running.notifier.wake()
            await until_state(database, probe, WebhookState.DELIVERED)
            for request_id in waiting:
                await until_state(database, request_id, WebhookState.DELIVERED)
            assert (await webhook_of(database, asked))["next_attempt_at"] == _milliseconds(later)


def _milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


async def test_while_a_host_rests_its_new_webhooks_wait_and_others_go_out(
    database: Database, make_settings: MakeSettings
) -> None:
    """A webhook that comes due at a resting host is not claimed, and costs other hosts nothing."""
    settings = make_settings(NotifierSettings, webhook_schedule_seconds="0,3600")
    async with serve_receiver(status(500)) as bad, serve_receiver(host=QUICK) as good:
        failing = await ended(database, bad.url("/"), count=OPENS_AFTER)
        async with notifying(database, settings) as running:
            for request_id in failing:
                await until_tries(database, request_id, 1)
            (waiting,) = await ended(database, bad.url("/"))
            (other,) = await ended(database, good.url("/", QUICK))
            running.notifier.wake()
            await until_state(database, other, WebhookState.DELIVERED)
        assert (await webhook_of(database, waiting))["tries"] == 0
        assert len(bad.received) == OPENS_AFTER


async def test_a_host_that_is_put_off_twice_keeps_the_time_that_was_asked_for(database: Database) -> None:
    """Two notifiers may put the same webhooks off: the first due time is the one that counts afterwards."""
    (request_id,) = await ended(database, "http://x.test/")
    due_at = (await webhook_of(database, request_id))["next_attempt_at"]
    assert await put_off(database, "x.test", seconds=30, spread=3) == 1
    assert await put_off(database, "x.test", seconds=60, spread=6) == 1
    assert await put_off(database, "other.test", seconds=60, spread=6) == 0
    assert (await webhook_of(database, request_id))["not_before"] == due_at
    assert 59 <= (await _next_due(database, within=70) or 0) <= 66
    assert await bring_forward(database, "x.test", spread=0) == 1
    assert await bring_forward(database, "x.test", spread=0) == 0
    assert await _next_due(database, since=5) == 0


async def _next_due(
    database: Database, *, since: float = 0, within: float = 60, behind: tuple[str, ...] = ()
) -> float | None:
    return await queries.next_due_seconds(database, since=since, within=within, behind=behind)


async def test_what_comes_due_next_is_known_without_what_was_seen_or_is_left_behind(database: Database) -> None:
    """Between the last look and the next sweep, at hosts that are not left behind: the soonest, None where none is."""
    now = await _now(database)
    await ended(database, "http://seen.test/", next_attempt_at=now - timedelta(seconds=30))
    await ended(database, "http://soon.test/", next_attempt_at=now + timedelta(seconds=20))
    await ended(database, "http://later.test/", next_attempt_at=now + timedelta(seconds=40))
    assert await _next_due(database, since=60) == 0
    assert 10 < (await _next_due(database) or 0) <= 20
    assert 30 < (await _next_due(database, behind=("soon.test",)) or 0) <= 40
    assert await _next_due(database, within=5) is None


async def test_what_is_held_is_not_put_off(database: Database) -> None:
    """A webhook that is being sent is left to the result of its attempt."""
    await ended(database, "http://x.test/")
    claims = await _claim(database, {"x.test": 1}, limit=1)
    assert len(claims.taken) == 1
    assert await put_off(database, "x.test", seconds=60, spread=6) == 0


async def _claim(
    database: Database, rooms: dict[str, int], *, limit: int = 100, where: Where | None = None
) -> queries.Claims:
    return await queries.claim_due(
        database, where or queries.ahead(None, ()), worker="w", seconds=60, limit=limit, room=rooms.__getitem__
    )


async def test_a_claim_takes_for_each_host_what_it_has_room_for_the_soonest_first(database: Database) -> None:
    """Room is kept to within one claim; a look says who is left behind, and whether that is all that is left."""
    first = await ended(database, "http://a.test/", count=3, next_attempt_at=datetime(2020, 1, 1, tzinfo=UTC))
    await ended(database, "http://a.test/", count=3)
    others = await ended(database, "http://b.test/", count=2)
    rooms = {"a.test": 3, "b.test": 8}
    claims = await _claim(database, rooms)
    assert {due.request_id for due in claims.taken} == {*first, *others}
    assert (claims.exhausted, claims.crowded) == (True, {"a.test"})
    again = await _claim(database, rooms, limit=1)
    assert (len(again.taken), again.exhausted) == (1, False)
    none = await _claim(database, rooms, where=queries.ahead(None, ["a.test"]))
    assert (none.taken, none.exhausted, none.crowded) == ([], True, set())
    rest = await _claim(database, rooms, where=queries.at_hosts(["a.test"]))
    assert (len(rest.taken), rest.exhausted) == (2, True)


async def test_a_look_ahead_takes_what_came_due_since_the_last_one(database: Database) -> None:
    """What came due before was seen by an earlier look, and waits for the next one from the beginning."""
    now = await _now(database)
    (old,) = await ended(database, "http://a.test/", next_attempt_at=now - timedelta(minutes=10))
    (new,) = await ended(database, "http://a.test/")
    claims = await _claim(database, {"a.test": 8}, where=queries.ahead(60, ()))
    assert [due.request_id for due in claims.taken] == [new]
    claims = await _claim(database, {"a.test": 8}, where=queries.ahead(None, ()))
    assert [due.request_id for due in claims.taken] == [old]


async def test_what_is_given_back_comes_due_anew(database: Database) -> None:
    """Released, or with a lease that ran out, a webhook that was due long ago is found by the next look ahead."""
    long_ago = await _now(database) - timedelta(hours=1)
    for give_back in (queries.release, lambda database, _: queries.expire(database)):
        await ended(database, "http://a.test/", next_attempt_at=long_ago)
        claims = await queries.claim_due(
            database, queries.ahead(None, ()), worker="w", seconds=-1, limit=1, room=lambda _: 1
        )
        assert await give_back(database, claims.taken) == 1
        assert len((await _claim(database, {"a.test": 8}, where=queries.ahead(60, ()))).taken) == 1
