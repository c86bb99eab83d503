"""A circuit breaker for one host: pure states, and what an outcome makes of them.

`Closed` (calls go through) → enough failures in a row → `Open` (none do) → its time is up: one probe at a time →
a success closes it, a failure opens it again, for longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OPENS_AFTER: Final = 5
"""Failures in a row that open it: fewer would take one receiver's bad minute for the host's."""

FIRST_SECONDS: Final = 30.0
LONGEST_SECONDS: Final = 600.0
"""It doubles from the one to the other: a host that is back is noticed within ten minutes at most."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Calls go through."""

    failures: int = 0
    """In a row, up to now."""


@dataclass(frozen=True, slots=True)
class Open:
    """No call goes through before `probe_at`; then one at a time may try (half-open)."""

    probe_at: float
    cool_down: float
    """Seconds from the last failed probe to the next one."""


State = Closed | Open
CLOSED: Final = Closed()


def after_failure(state: State, now: float) -> State:
    """Return what a failed call makes of `state`, at `now` seconds of any steady clock."""
    if isinstance(state, Closed):
        failures = state.failures + 1
        return Open(now + FIRST_SECONDS, FIRST_SECONDS) if failures >= OPENS_AFTER else Closed(failures)
    if now < state.probe_at:
        return state  # a call from before it opened: no news
    cool_down = min(2 * state.cool_down, LONGEST_SECONDS)
    return Open(now + cool_down, cool_down)


def room(state: State, now: float, limit: int) -> int:
    """Return how many calls may be under way together: `limit`, none, or one that probes."""
    if isinstance(state, Closed):
        return limit
    return 1 if now >= state.probe_at else 0
