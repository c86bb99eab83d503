"""Requests that have ended with a webhook due, and a notifier that runs in the test's own event loop."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from imagepress.documents import RequestStatus, WebhookState
from imagepress.lifecycle import Stop
from imagepress.mongo import Database, server_time
from services.notifier.hosts import Hosts
from services.notifier.loop import Notifier
from services.notifier.send import open_sender
from services.notifier.settings import NotifierSettings
from tests.support.processes import eventually


class Clock:
    """A clock for breakers that the test can turn on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead


class Running:
    """A notifier at work. `stop` asks it to end, `ended` waits for that."""

    def __init__(self, notifier: Notifier, stop: Stop, clock: Clock) -> None:
        self.notifier = notifier
        self.clock = clock
        self._stop = stop
        self._task = asyncio.create_task(notifier.run())

    def stop(self) -> None:
        self._stop.set()

    async def ended(self, seconds: float = 10) -> None:
        await asyncio.wait_for(asyncio.shield(self._task), seconds)


@asynccontextmanager
async def notifying(database: Database, settings: NotifierSettings, name: str = "notifier") -> AsyncIterator[Running]:
    """Yield a notifier at work, without a stream: it looks when it starts, when woken, and when something is due."""
    stop, clock = Stop(), Clock()
    async with open_sender(settings) as sender:
        hosts = Hosts(settings.webhook_per_host, clock)
        running = Running(Notifier(database, settings, sender, hosts, name=name, stop=stop), stop, clock)
        try:
            yield running
        finally:
            running.stop()
            await running.ended()


async def ended(database: Database, url: str, *, count: int = 1, **webhook: Any) -> list[str]:
    """Store `count` requests that have just ended, each with a webhook to `url` that is due; return their ids."""
    now = await server_time(database)
    ids = [str(uuid.uuid4()) for _ in range(count)]
    await database.requests.insert_many(
        [
            {
                "_id": request_id,
                "schema": 1,
                "run": 1,
                "status": RequestStatus.COMPLETED,
                "created_at": now,
                "ended_at": now,
                "woken_at": now,
                "released_run": 1,
                "images": {"total": 2, "succeeded": 2, "failed": 0},
                "bytes": {"input": 10, "output": 5},
                "webhook": {
                    "url": url,
                    "host": urlsplit(url).hostname,
                    "state": WebhookState.DUE,
                    "tries": 0,
                    "next_attempt_at": now,
                    **webhook,
                },
            }
            for request_id in ids
        ]
    )
    return ids


async def webhook_of(database: Database, request_id: str) -> dict[str, Any]:
    """Return the webhook of a request as it stands."""
    request = await database.requests.find_one({"_id": request_id})
    assert request is not None
    webhook: dict[str, Any] = request["webhook"]
    return webhook


async def attempts_of(database: Database, request_id: str) -> list[dict[str, Any]]:
    """Return the recorded attempts of a request, in order."""
    return [row async for row in database.attempts.find({"request_id": request_id}).sort("number", 1)]


async def until_state(database: Database, request_id: str, state: WebhookState, seconds: float = 10) -> dict[str, Any]:
    """Wait until the webhook of a request has come to `state`; return it."""

    async def has_come() -> bool:
        return bool((await webhook_of(database, request_id))["state"] == state)

    await eventually(has_come, seconds)
    return await webhook_of(database, request_id)


async def until_tries(database: Database, request_id: str, tries: int, seconds: float = 10) -> dict[str, Any]:
    """Wait until so many attempts of a request's webhook are recorded; return it."""

    async def are_made() -> bool:
        return bool((await webhook_of(database, request_id))["tries"] == tries)

    await eventually(are_made, seconds)
    return await webhook_of(database, request_id)
