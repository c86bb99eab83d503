"""When a call is made again, and how long is waited before: pure, shared by both clients."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

import httpx

TRIES: Final = 5
LONGEST_DELAY_SECONDS: Final = 10.0
LONGEST_ASKED_SECONDS: Final = 60.0
"""A service that asks for more than this (Retry-After) is not waited for, and never asked earlier than it wants."""
TURNED_AWAY: Final = frozenset({429})
"""The call was not looked at, whatever it was: it may always be made again."""
PASSING: Final = frozenset({429, 502, 503, 504})
"""The service, or a proxy before it, cannot answer now; how far the call came is not known."""
UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""No byte of the call has reached anybody."""


def delays(rng: random.Random | None = None) -> Iterator[float | None]:
    """Yield the seconds to wait after each try that failed: doubling, with jitter; None after the last."""
    drawn = rng or random.Random()  # jitter, not a secret
    for number in range(TRIES - 1):
        yield drawn.uniform(0.5, 1.0) * min(0.5 * 2**number, LONGEST_DELAY_SECONDS)
    yield None


def delay_after(answer: httpx.Response, delay: float | None, *, repeatable: bool) -> float | None:
    """Return the seconds until the next try, at least what the service asks for; None where `answer` is the last.

    `repeatable`: doing the call twice is the same as doing it once.
    """
    if delay is None or answer.status_code not in (PASSING if repeatable else TURNED_AWAY):
        return None
    asked = answer.headers.get("Retry-After", "")
    if not asked.isdecimal():
        return delay
    return max(delay, float(asked)) if float(asked) <= LONGEST_ASKED_SECONDS else None


def may_repeat(error: httpx.TransportError, *, repeatable: bool) -> bool:
    """Tell whether a call that ended without an answer may be made again. A URL nobody can fetch is no accident."""
    if isinstance(error, httpx.UnsupportedProtocol):
        return False
    return repeatable or isinstance(error, UNSENT)
