"""One attempt of a claimed webhook: sent, decided about, written down; its host is judged by it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from imagepress import logs, metrics, tracing
from imagepress.errors import TransientError
from imagepress.mongo import Database
from services.notifier import rest_queries
from services.notifier.breaker import Open, State
from services.notifier.decide import Decision, Delivered, RetryAt, Schedule, decide
from services.notifier.hosts import Hosts
from services.notifier.queries import DueWebhook
from services.notifier.record import Outcome, Recorder
from services.notifier.send import Sender

log = logs.get(__name__)

for _outcome in ("delivered", "retried", "given_up"):
    metrics.webhook_attempts.labels(_outcome)

SPREAD: Final = 0.1
"""The share of its rest over which a host's webhooks come due again, so that they do not fall upon it all at once."""

BACK_WITHIN_SECONDS: Final = 1.0
"""The same for a host that is well again; its limit of POSTs at once does the rest."""


@dataclass(slots=True)
class Held:
    """A webhook in hand. Once `sent` it is never given back: its result is to be written."""

    due: DueWebhook
    sent: bool = False


@dataclass(frozen=True)
class Attempts:
    """What attempts are made with; `rng` draws the jitter, `expect` is told in how many seconds something comes due."""

    database: Database
    sender: Sender
    recorder: Recorder
    hosts: Hosts
    schedule: Schedule
    rng: random.Random
    expect: Callable[[float], None]

    async def carry_out(self, held: Held) -> None:
        """Make one attempt. Cancelled before `held.sent`, it leaves nothing behind but a POST that may have arrived."""
        due = held.due
        with tracing.span(
            "webhook", parent=due.request.get("traceparent"), request_id=due.request_id, attempt=due.tries + 1
        ):
            result = await self.sender.send(due)
        held.sent = True
        tries = due.tries - due.schedule_from
        decision = decide(result, tries=tries, schedule=self.schedule, draw=self.rng.random())
        news = self.hosts.judge(due.host, ailing=result.host_is_ailing)
        outcome = Outcome(due, result, decision)
        _tell(outcome)
        try:
            await self.recorder.record(outcome)
        except TransientError as error:
            log.warning("a webhook is left to its lease", request_id=due.request_id, problem=str(error))
            return
        if isinstance(decision, RetryAt):
            self.expect(decision.delay)
        if news is not None:
            await self._move(due.host, news)

    async def _move(self, host: str, news: State) -> None:
        """Move what a host has due out of the way of everybody's claims while it rests, and back when it is well."""
        try:
            await self._move_all(host, news)
        except TransientError as error:  # it is only in the way now, or comes a little later
            log.warning("webhooks of a host stay where they are", host=host, problem=str(error))

    async def _move_all(self, host: str, news: State) -> None:
        if isinstance(news, Open):
            rest = news.cool_down
            moved = await rest_queries.put_off(self.database, host, seconds=rest, spread=SPREAD * rest)
            log.warning("a host fails again and again, and rests", host=host, seconds=rest, webhooks=moved)
        else:
            moved = await rest_queries.bring_forward(self.database, host, spread=BACK_WITHIN_SECONDS)
            self.expect(0)
            log.info("a host is well again", host=host, webhooks=moved)


def _tell(outcome: Outcome) -> None:
    due, result = outcome.due, outcome.result
    word = _word(outcome.decision)
    metrics.webhook_attempts.labels(word).inc()
    metrics.webhook_seconds.observe(result.latency_ms / 1000)
    if word == "delivered" and not due.tries:
        metrics.webhook_delay_seconds.observe(due.waited + result.latency_ms / 1000)
    log.info(
        f"webhook {word}",
        request_id=due.request_id,
        host=due.host,
        attempt=due.tries + 1,
        status_code=result.status_code,
        error=result.error,
        latency_ms=result.latency_ms,
    )


def _word(decision: Decision) -> str:
    if isinstance(decision, Delivered):
        return "delivered"
    return "retried" if isinstance(decision, RetryAt) else "given_up"
