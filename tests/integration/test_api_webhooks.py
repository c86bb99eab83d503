"""The log of webhooks and sending them again, over HTTP: with a notifier at work, and a receiver that is called."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from imagepress.documents import BatchStatus, RequestStatus, WebhookState, webhook_id
from imagepress.mongo import Database, server_time
from services.ingest.settings import IngestSettings
from services.notifier.settings import NotifierSettings
from tests.conftest import MakeSettings
from tests.support.api import serving
from tests.support.notifying import ended, notifying, until_state, webhook_of
from tests.support.origin import body, in_turn, status
from tests.support.receiver import serve_receiver

HOST = "http://x.test/"


@pytest.fixture
async def api(database: Database, make_settings: MakeSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running ingest."""
    assert database is not None
    async with serving(make_settings(IngestSettings)) as client:
        yield client


async def _log(api: httpx.AsyncClient, request_id: str, **query: str | int) -> dict[str, Any]:
    answer = await api.get(f"/api/requests/{request_id}/webhook", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _given_up(database: Database, **since: float) -> str:
    """Store a request whose webhook was given up such a time ago."""
    settled_at = await server_time(database) - timedelta(**since)
    (request_id,) = await ended(database, HOST, state=WebhookState.GIVEN_UP, tries=10, settled_at=settled_at)
    await database.requests.update_one({"_id": request_id}, {"$unset": {"webhook.next_attempt_at": ""}})
    return request_id


async def test_the_log_tells_of_every_attempt_the_newest_first(
    api: httpx.AsyncClient, database: Database, make_settings: MakeSettings
) -> None:
    """A refused connection to nobody apart, each attempt has its code, its time and the start of the answer."""
    settings = make_settings(NotifierSettings, webhook_schedule_seconds="0,0.05")
    answers = in_turn(body(b"out of order", "text/plain", 500), body(b"thanks", "text/plain"))
    async with serve_receiver(answers) as receiver, notifying(database, settings) as running:
        (request_id,) = await ended(database, receiver.url("/hook?secret=hunter2"))
        running.notifier.wake()
        await until_state(database, request_id, WebhookState.DELIVERED)
    log = await _log(api, request_id)
    second, first = log.pop("attempts")
    settled = datetime.fromisoformat(log.pop("settled_at"))
    assert abs((await server_time(database)).replace(tzinfo=UTC) - settled) < timedelta(seconds=10)
    assert log == {
        "request_id": request_id,
        "webhook_id": receiver.received[0].headers["webhook-id"],
        "host": "127.0.0.1",
        "state": "delivered",
        "tries": 2,
        "next_attempt_at": None,
        "next": None,
    }
    assert datetime.fromisoformat(first.pop("at")) <= datetime.fromisoformat(second.pop("at")) <= settled
    assert first.pop("latency_ms") >= 0
    assert second.pop("latency_ms") >= 0
    said = {"run": 1, "error": None}
    assert first == {**said, "number": 1, "outcome": "failed", "status_code": 500, "answer": "out of order"}
    assert second == {**said, "number": 2, "outcome": "delivered", "status_code": 200, "answer": "thanks"}


async def _logged(database: Database, request_id: str, run: int, codes: list[int | None]) -> None:
    now = await server_time(database)
    await database.attempts.insert_many(
        {
            "_id": f"{request_id}/{run}/{number}",
            "request_id": request_id,
            "run": run,
            "number": number,
            "at": now + timedelta(seconds=10 * run + number // 2),  # pairs of one time
            "status_code": code,
            "latency_ms": 5,
            "answer": "",
            "error": None if code else "no answer in time",
        }
        for number, code in enumerate(codes, start=1)
    )


async def test_the_log_comes_in_pages_and_can_be_of_one_outcome_or_run(
    api: httpx.AsyncClient, database: Database
) -> None:
    """Every attempt comes once, whatever the size of a page; filters hold on every page."""
    request_id, other = await ended(database, HOST, count=2)
    await _logged(database, request_id, 1, [None, 500, 301, 204])
    await _logged(database, request_id, 2, [299, None])
    await _logged(database, other, 1, [200])
    for limit in (1, 2, 5, 6, 200):
        seen: list[tuple[int, int]] = []
        page: dict[str, Any] = {"next": ""}
        while page["next"] is not None:
            query = {"cursor": page["next"]} if page["next"] else {}
            page = await _log(api, request_id, limit=limit, **query)
            seen += [(attempt["run"], attempt["number"]) for attempt in page["attempts"]]
        assert seen == [(2, 2), (2, 1), (1, 4), (1, 3), (1, 2), (1, 1)]
    delivered = await _log(api, request_id, outcome="delivered")
    assert [attempt["status_code"] for attempt in delivered["attempts"]] == [299, 204]
    failed = await _log(api, request_id, outcome="failed", run=1)
    assert [attempt["status_code"] for attempt in failed["attempts"]] == [301, 500, None]


@pytest.mark.parametrize("query", [{"cursor": "x"}, {"limit": 0}, {"limit": 201}, {"run": 0}, {"outcome": "lost"}])
async def test_a_question_that_makes_no_sense_is_refused(
    api: httpx.AsyncClient, database: Database, query: dict[str, Any]
) -> None:
    """The problem names the parameter."""
    (request_id,) = await ended(database, HOST)
    answer = await api.get(f"/api/requests/{request_id}/webhook", params=query)
    assert (answer.status_code, [problem["field"] for problem in answer.json()["errors"]]) == (422, [*query])


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_where_there_is_no_webhook_there_is_none_to_see_or_to_send(
    api: httpx.AsyncClient, database: Database, method: str
) -> None:
    """Unknown and removed requests, and those uploaded without a webhook_url, answer 404; what is no UUID, 422."""
    removed, without = await ended(database, HOST, count=2, state=WebhookState.DELIVERED)
    assert (await api.delete(f"/api/requests/{removed}")).status_code == 204
    await database.requests.update_one({"_id": without}, {"$unset": {"webhook": ""}})
    end = "/webhook" if method == "GET" else "/webhook/redeliver"
    found = [await api.request(method, f"/api/requests/{one}{end}") for one in (uuid.uuid4(), removed, without, "x")]
    assert [answer.status_code for answer in found] == [404, 404, 404, 422]
    assert {answer.headers["content-type"] for answer in found} == {"application/problem+json"}


@pytest.mark.parametrize("state", [WebhookState.GIVEN_UP, WebhookState.DELIVERED])
async def test_a_settled_webhook_is_sent_again_by_a_schedule_of_its_own(
    api: httpx.AsyncClient, database: Database, make_settings: MakeSettings, state: WebhookState
) -> None:
    """Its id is that of the run, its attempts are counted on, and it has as many as at first before it is given up."""
    settings = make_settings(NotifierSettings, webhook_schedule_seconds="0,0.05,0.05")
    codes = {WebhookState.GIVEN_UP: [status(400)] * 3, WebhookState.DELIVERED: [status(200)]}[state]
    async with serve_receiver(in_turn(*codes, status(400))) as receiver, notifying(database, settings) as running:
        (request_id,) = await ended(database, receiver.url("/"))
        running.notifier.wake()
        await until_state(database, request_id, state)
        answer = await api.post(f"/api/requests/{request_id}/webhook/redeliver")
        assert answer.status_code == 200, answer.text
        assert (answer.json()["state"], answer.json()["tries"]) == ("due", len(codes))
        assert answer.json()["next_attempt_at"] is not None
        running.notifier.wake()
        webhook = await until_state(database, request_id, WebhookState.GIVEN_UP)
    assert webhook["tries"] == len(receiver.received) == len(codes) + 3
    assert {call.headers["webhook-id"] for call in receiver.received} == {webhook_id(request_id, 1)}
    numbers = [attempt["number"] for attempt in (await _log(api, request_id))["attempts"]]
    assert numbers == list(range(len(codes) + 3, 0, -1))


async def test_what_is_not_settled_is_not_sent_again(api: httpx.AsyncClient, database: Database) -> None:
    """A run that goes on has nothing to tell yet; what is due, or being sent, comes anyway."""
    running, due = await ended(database, HOST, count=2)
    changed = {"status": RequestStatus.PROCESSING, "webhook.state": WebhookState.WAITING}
    await database.requests.update_one({"_id": running}, {"$set": changed})
    before = await webhook_of(database, due)
    details = {}
    for request_id in (running, due):
        answer = await api.post(f"/api/requests/{request_id}/webhook/redeliver")
        assert answer.status_code == 409
        details[request_id] = answer.json()["detail"]
    assert details == {running: "the request has not ended yet", due: "the webhook is due already"}
    assert await webhook_of(database, due) == before


async def test_all_that_was_given_up_since_a_moment_is_sent_again(api: httpx.AsyncClient, database: Database) -> None:
    """Neither what was given up before, nor what was delivered, is touched; the answer says how many there were."""
    old, new = await _given_up(database, hours=3), [await _given_up(database, minutes=n) for n in (1, 60)]
    now = await server_time(database)
    (delivered,) = await ended(database, HOST, state=WebhookState.DELIVERED, settled_at=now)
    since = (now.replace(tzinfo=UTC) - timedelta(hours=2)).isoformat()
    for expected in (2, 0):
        answer = await api.post("/api/webhooks/redeliver", params={"since": since})
        assert (answer.status_code, answer.json()) == (200, {"webhooks": expected})
    for request_id in new:
        webhook = await webhook_of(database, request_id)
        assert (webhook["state"], webhook["tries"], webhook["schedule_from"]) == (WebhookState.DUE, 10, 10)
        assert "settled_at" not in webhook
    assert (await webhook_of(database, old))["state"] == WebhookState.GIVEN_UP
    assert (await webhook_of(database, delivered))["state"] == WebhookState.DELIVERED


async def test_a_client_sends_only_its_own_again(database: Database, make_settings: MakeSettings) -> None:
    """With keys, what was given up of other clients' requests, or of nobody's, stays as it is and is not counted."""
    own, others, nobodys = [await _given_up(database, minutes=1) for _ in range(3)]
    for request_id, client in ((own, "shop"), (others, "mill")):
        await database.requests.update_one({"_id": request_id}, {"$set": {"client": client}})
    keys = "shop:the-key-of-the-shop-1,mill:the-key-of-the-mill-1"
    async with serving(make_settings(IngestSettings, api_keys=keys)) as api:
        as_shop = {"Authorization": "Bearer the-key-of-the-shop-1"}
        answer = await api.post("/api/webhooks/redeliver", params={"since": "2000-01-01"}, headers=as_shop)
        assert (answer.status_code, answer.json()) == (200, {"webhooks": 1})
        answer = await api.post(f"/api/requests/{others}/webhook/redeliver", headers=as_shop)
        assert answer.status_code == 404
    states = [(await webhook_of(database, request_id))["state"] for request_id in (own, others, nobodys)]
    assert states == [WebhookState.DUE, WebhookState.GIVEN_UP, WebhookState.GIVEN_UP]


@pytest.mark.parametrize(
    ("ago", "zone", "found"),
    [(90, "", 1), (90, "Z", 1), (30, "", 0), (30, "Z", 0), (-30, "+02:00", 1), (-90, "+02:00", 0)],
)
async def test_a_moment_without_a_zone_is_in_utc(
    api: httpx.AsyncClient, database: Database, ago: int, zone: str, found: int
) -> None:
    """What was given up an hour ago is found by a moment before that, in whatever zone it is told."""
    await _given_up(database, minutes=60)
    moment = await server_time(database) - timedelta(minutes=ago)
    since = moment.replace(tzinfo=None).isoformat() + zone
    answer = await api.post("/api/webhooks/redeliver", params={"since": since})
    assert answer.json() == {"webhooks": found}


@pytest.mark.parametrize(
    "since",
    [
        "",
        "yesterday",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1e400",
        "2026-13-01",
        "2026",
        "0.5",
        None,
    ],
)
async def test_what_is_no_moment_is_refused(api: httpx.AsyncClient, since: str | None) -> None:
    """The problem names the parameter, also where it is missing."""
    answer = await api.post("/api/webhooks/redeliver", params={} if since is None else {"since": since})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "since")


async def test_a_retry_of_the_request_begins_a_schedule_of_its_own(api: httpx.AsyncClient, database: Database) -> None:
    """Nothing of an earlier run's redelivery is left in the webhook of the next run."""
    request_id = await _given_up(database, minutes=1)
    assert (await api.post(f"/api/requests/{request_id}/webhook/redeliver")).status_code == 200
    await database.requests.update_one({"_id": request_id}, {"$set": {"webhook.state": WebhookState.GIVEN_UP}})
    image = {"n": 0, "url": "http://x.test/", "status": "failed", "run": 1}
    await database.batches.insert_one(
        {
            "_id": f"{request_id}/000000",
            "request_id": request_id,
            "run": 1,
            "seq": 0,
            "status": BatchStatus.COMPLETED,
            "rows": [{"row": 0, "serial_number": 1, "product_name": "a", "images": [image]}],
        }
    )
    assert (await api.post(f"/api/requests/{request_id}/retry")).status_code == 200
    webhook = await webhook_of(database, request_id)
    assert webhook.keys() == {"url", "host", "state", "tries"}
    assert (webhook["state"], webhook["tries"]) == (WebhookState.WAITING, 0)
