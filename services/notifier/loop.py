"""The notifier: claims due webhooks while it has room, sends them side by side, and has the outcomes recorded.

The stream wakes, the claim decides: what is due, and when something is next, is always read from the requests.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Final

from imagepress import logs, metrics
from imagepress.errors import TransientError
from imagepress.lifecycle import Stop
from imagepress.mongo import Database
from imagepress.retry import Backoff
from services.notifier import message, queries
from services.notifier.breaker import Breakers
from services.notifier.decide import Delivered, RetryIn, decide
from services.notifier.message import Claimed
from services.notifier.queries import Outcome
from services.notifier.recorder import Recorder
from services.notifier.send import Sender
from services.notifier.settings import NotifierSettings

log = logs.get(__name__)

AT_ONCE: Final = 200
"""Due webhooks looked at in one claim."""

HOST_IS_AILING: Final = frozenset({429, 502, 503, 504})
"""Statuses that speak for the whole host; others are about one webhook, and the host may serve many subscribers."""


class Notifier:
    """Claims, sends, decides; one per process."""

    def __init__(
        self,
        database: Database,
        settings: NotifierSettings,
        sender: Sender,
        *,
        name: str,
        stop: Stop,
        rng: random.Random | None = None,
    ) -> None:
        """Hold nothing yet. `name` stands in the leases; `rng` draws the jitter."""
        self._database = database
        self._settings = settings
        self._sender = sender
        self._name = name
        self._stop = stop
        self._rng = rng or random.Random()  # jitter, not a secret
        self._ring = asyncio.Event()
        self._in_hand: Counter[str] = Counter()
        self._sending: dict[asyncio.Task[None], Claimed] = {}
        self.breakers = Breakers(asyncio.get_running_loop().time)
        self._recorder = Recorder(database, patience_seconds=settings.database_timeout_seconds * 2, recorded=self._free)

    def wake(self) -> None:
        """Look again."""
        self._ring.set()

    async def run(self) -> None:
        """Claim and send until the stop, then let what is being sent finish, and give the rest back."""
        backoff = Backoff()
        async with asyncio.TaskGroup() as tasks:
            recording = tasks.create_task(self._recorder.run(), name="recorder")
            while not self._stop.is_set:
                self._ring.clear()
                try:
                    wait = await self.run_once(tasks)
                    backoff.reset()
                except TransientError as error:
                    log.warning("claiming is paused", problem=str(error))
                    wait = backoff.delay()
                if wait:
                    await self._stop.race(self._ring.wait(), timeout=wait)
            await self._settle()
            recording.cancel()

    async def run_once(self, tasks: asyncio.TaskGroup) -> float:
        """Claim what is due and there is room for, and start sending it; return the seconds until the next look."""
        room = self._settings.webhook_concurrency - self._in_hand.total()
        if room <= 0:
            return self._settings.sweep_seconds  # whoever is done rings
        full = [host for host in self._in_hand if self._room_of(host) <= 0]
        claimed = await queries.claim_due(
            self._database,
            worker=self._name,
            seconds=self._settings.lease_seconds,
            limit=min(room, AT_ONCE),
            room=self._room_of,
            full=[*full, *self.breakers.open_hosts],
        )
        for webhook in claimed:
            self._in_hand[webhook.host] += 1
            task = tasks.create_task(self._deliver(webhook), name=f"webhook of {webhook.request_id}")
            self._sending[task] = webhook
            task.add_done_callback(self._sending.pop)
        return 0.0 if claimed else await self._until_next()

    def _room_of(self, host: str) -> int:
        """Return how many more webhooks `host` may be sent now."""
        most = 1 if self.breakers.is_half_open(host) else self._settings.webhook_per_host
        return most - self._in_hand[host]

    async def _until_next(self) -> float:
        due = await queries.next_due_in(self._database)
        longest = self._settings.sweep_seconds
        # What is due already, and was not claimed, waits for its host: whoever is done there rings.
        return longest if not due else min(longest, due)

    async def _deliver(self, webhook: Claimed) -> None:
        """Send one webhook and decide what follows."""
        if not self.breakers.admits(webhook.host):
            await self._give_back([webhook])
            self._in_hand[webhook.host] -= 1
            return
        content = message.body(webhook, self._settings.base_url)
        secrets = self._settings.webhook_secrets.of(webhook.client)
        headers = message.headers(webhook, content, now=datetime.now(UTC), secrets=secrets)
        result = await self._sender.post(webhook.url, content, headers)
        decision = decide(
            result,
            tries=webhook.tries + 1,
            schedule=self._settings.webhook_schedule_seconds,
            jitter=self._rng.uniform(0, self._settings.webhook_jitter),
        )
        outcome = Outcome(webhook, result, decision)
        self._recorder.add(outcome)
        _tell(outcome)
        await self._judge_host(outcome)

    async def _judge_host(self, outcome: Outcome) -> None:
        """Let a host that fails again and again rest, with all that is due there; bring that back once it is well."""
        host, result = outcome.webhook.host, outcome.result
        if result.forbidden:
            return
        try:
            if result.status_code is None or result.status_code in HOST_IS_AILING:
                if pause := self.breakers.failed(host):
                    moved = await queries.put_off(self._database, host, seconds=pause, spread=pause / 4)
                    log.warning("a host rests", host=host, seconds=pause, put_off=moved)
            elif self.breakers.succeeded(host):
                moved = await queries.bring_forward(self._database, host, spread=1.0)
                log.info("a host is well again", host=host, brought_forward=moved)
                self._ring.set()
        except TransientError as error:
            log.warning("webhooks of a host stay where they are", host=host, problem=str(error))

    def _free(self, outcome: Outcome) -> None:
        """Give the place of a recorded webhook to another."""
        host = outcome.webhook.host
        self._in_hand[host] -= 1
        if not self._in_hand[host]:
            del self._in_hand[host]
        self._ring.set()

    async def _settle(self) -> None:
        """After the stop: what is being sent may finish until the drain deadline; then it is given back."""
        if self._sending:
            await asyncio.wait(list(self._sending), timeout=self._settings.drain_seconds)
        left = dict(self._sending)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(list(left))
            await self._give_back(list(left.values()))
        await self._recorder.drain()

    async def _give_back(self, webhooks: list[Claimed]) -> None:
        try:
            await queries.give_back(self._database, webhooks)
        except TransientError as error:
            log.warning("webhooks are left to their leases", webhooks=len(webhooks), problem=str(error))


def _tell(outcome: Outcome) -> None:
    webhook, result, decision = outcome.webhook, outcome.result, outcome.decision
    told = "delivered" if isinstance(decision, Delivered) else "retry" if isinstance(decision, RetryIn) else "given_up"
    metrics.webhook_attempts.labels(told).inc()
    log.info(
        "webhook attempted",
        request_id=webhook.request_id,
        outcome=told,
        attempt=webhook.tries + 1,
        status_code=result.status_code,
        error=result.error,
        latency_ms=result.latency_ms,
        next_in=round(decision.seconds, 1) if isinstance(decision, RetryIn) else None,
    )
