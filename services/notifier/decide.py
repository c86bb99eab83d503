"""What the result of an attempt means for its webhook: pure, from facts to a decision."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

LONGEST_ASKED_SECONDS: Final = 24 * 3600
"""How far a receiver's Retry-After is followed: beyond a day it would only lose its webhooks."""

ASKS_TO_WAIT: Final = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Statuses whose Retry-After is honoured (Standard Webhooks 1.0.0, "Delivery success and failure")."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one POST: a status code, or an error in its place."""

    status_code: int | None
    latency_ms: int
    answer: str = ""
    """The start of the answer, for people."""
    error: str | None = None
    forbidden: bool = False
    """Whether the address is one that imagepress may not connect to."""
    retry_after: float | None = None
    """Seconds that the receiver asks to wait."""

    @property
    def received(self) -> bool:
        """Whether the receiver said so: 2xx and nothing else."""
        return self.status_code is not None and 200 <= self.status_code < 300

    @property
    def host_is_ailing(self) -> bool:
        """Whether this speaks against the host rather than against this webhook: no answer, an error of its own, 429.

        A refusal on our side never reached the host.
        """
        if self.status_code is None:
            return not self.forbidden
        return self.status_code >= 500 or self.status_code == HTTPStatus.TOO_MANY_REQUESTS


@dataclass(frozen=True, slots=True)
class Schedule:
    """When attempts are made: `delays` in seconds, one before each; up to `jitter` (a share) is added at random."""

    delays: tuple[float, ...]
    jitter: float


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Another attempt is due `delay` seconds after this result is recorded."""

    delay: float


@dataclass(frozen=True, slots=True)
class GivenUp:
    """No further attempt is made, for a `reason` told in a sentence."""

    reason: str


Decision = Delivered | RetryAt | GivenUp


def decide(result: Result, *, tries: int, schedule: Schedule, draw: float) -> Decision:
    """Decide about a webhook after one more attempt; `tries` were made before it, `draw` is random from 0 to 1.

    Redirects count as failures: they are never followed. Jitter only adds, so no attempt comes earlier than asked.
    """
    if result.received:
        return Delivered()
    if result.forbidden:
        return GivenUp("the address is not one that webhooks may be sent to")
    if result.status_code == HTTPStatus.GONE:
        return GivenUp("the receiver answered 410: it wants no more of it")
    if tries + 1 >= len(schedule.delays):
        return GivenUp(f"all {len(schedule.delays)} attempts failed")
    delay = max(schedule.delays[tries + 1], _asked(result))
    return RetryAt(delay * (1 + schedule.jitter * draw))


def _asked(result: Result) -> float:
    if result.status_code not in ASKS_TO_WAIT or result.retry_after is None:
        return 0.0
    return min(result.retry_after, LONGEST_ASKED_SECONDS)
