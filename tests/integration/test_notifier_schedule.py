"""The whole schedule, three days and more, walked in seconds by a clock that the test turns; and the way back."""

from __future__ import annotations

from datetime import UTC, timedelta

from imagepress.documents import WebhookState
from imagepress.mongo import Database, server_time
from services.ingest.settings import IngestSettings
from services.notifier.settings import NotifierSettings
from tests.conftest import MakeSettings
from tests.support.api import serving
from tests.support.notifying import Running, attempts_of, ended, notifying, until_state, until_tries
from tests.support.origin import status
from tests.support.receiver import serve_receiver

DELAYS = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
JITTER = 0.1
JUST_BEFORE = timedelta(seconds=0.2)


async def _turn(database: Database, running: Running, request_id: str, by: timedelta) -> None:
    """Let so much time pass, for what is stored and for the notifier."""
    earlier = {"$subtract": ["$webhook.next_attempt_at", round(by.total_seconds() * 1000)]}
    await database.requests.update_one({"_id": request_id}, [{"$set": {"webhook.next_attempt_at": earlier}}])
    running.clock.ahead += by.total_seconds()
    running.notifier.wake()


async def test_ten_attempts_over_three_days_end_in_giving_up_and_a_redelivery_succeeds(
    database: Database, make_settings: MakeSettings
) -> None:
    """By the default schedule each attempt is made at its time and never before, through all rests of its host; after
    the last one the status says `given_up`, and sent again the webhook arrives under the id that it always had."""
    async with (
        serve_receiver(status(500)) as receiver,
        notifying(database, make_settings(NotifierSettings)) as running,
        serving(make_settings(IngestSettings)) as api,
    ):
        (request_id,) = await ended(database, receiver.url("/"))
        running.notifier.wake()
        for tries, delay in enumerate(DELAYS, start=1):
            webhook = await until_tries(database, request_id, tries)
            recorded = (await attempts_of(database, request_id))[-1]["at"]
            planned = (webhook["next_attempt_at"] - recorded).total_seconds()
            assert delay <= planned <= delay * (1 + JITTER) + 5
            wait = webhook["next_attempt_at"] - (await server_time(database)).replace(tzinfo=UTC)
            by = max(wait - JUST_BEFORE, timedelta())
            await _turn(database, running, request_id, by)
            await until_tries(database, request_id, tries + 1)
            assert (await attempts_of(database, request_id))[-1]["at"] >= webhook["next_attempt_at"] - by
        await until_state(database, request_id, WebhookState.GIVEN_UP)
        shown = (await api.get("/api/status", params={"request_id": request_id})).json()
        assert shown["webhook"] == {"state": "given_up", "tries": 10, "next_attempt_at": None}

        receiver.answer = status(200)
        assert (await api.post(f"/api/requests/{request_id}/webhook/redeliver")).status_code == 200
        running.clock.ahead += 600  # its host, which failed ten times, rests no longer than that
        running.notifier.wake()
        await until_state(database, request_id, WebhookState.DELIVERED)
    assert [attempt["number"] for attempt in await attempts_of(database, request_id)] == list(range(1, 12))
    assert len({call.headers["webhook-id"] for call in receiver.received}) == 1
