"""What follows from an attempt: delivered, again later, or given up. Pure: facts in, decision out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LONGEST_ASKED_SECONDS: Final = 24 * 3600.0
"""`Retry-After` is honoured up to this; a receiver cannot park a webhook for weeks."""

GONE: Final = 410
ASKING: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Result:
    """One attempt: the status, or what went wrong instead; milliseconds; the first of the answer; what it asked for.

    `forbidden`: the address may not be called, and never was.
    """

    status_code: int | None
    error: str | None
    latency_ms: int
    answer: str = ""
    retry_after: float | None = None
    forbidden: bool = False


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class RetryIn:
    """Another attempt, not before `seconds` from now."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GivenUp:
    """No attempt follows, until somebody asks for a redelivery."""

    reason: str


Decision = Delivered | RetryIn | GivenUp


def decide(result: Result, *, tries: int, schedule: Sequence[float], jitter: float) -> Decision:
    """Return what follows from `result`, the attempt number `tries` (from 1).

    `schedule` holds the seconds before each attempt; `jitter` (from 0) is the share of the delay to add, already drawn.
    It only adds, so that a delay is never shorter than what was scheduled or asked for.
    """
    status = result.status_code
    if status is not None and 200 <= status < 300:
        return Delivered()
    if result.forbidden:
        return GivenUp(result.error or "the address may not be called")
    if status == GONE:
        return GivenUp("the receiver answered 410: it does not want this webhook any more")
    if tries >= len(schedule):
        return GivenUp(f"all {len(schedule)} attempts failed")
    delay = schedule[tries]
    if status in ASKING and result.retry_after is not None:
        delay = max(delay, min(result.retry_after, LONGEST_ASKED_SECONDS))
    return RetryIn(delay * (1 + jitter))
