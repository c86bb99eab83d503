"""How passing faults are waited out: one back-off for everyone, always raced against the stop event."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from imagepress.errors import TransientError

Result = TypeVar("Result")


class Backoff:
    """Delays in seconds that double from `first` to `longest`, each drawn between half and the whole ("equal jitter").

    For loops that never give up. `reset` after a success.
    """

    def __init__(self, first: float = 0.1, longest: float = 5.0, rng: random.Random | None = None) -> None:
        """Start at `first` seconds."""
        self._first = first
        self._longest = longest
        self._next = first
        self._rng = rng or random.Random()  # jitter, not a secret

    def delay(self) -> float:
        """Return the next delay in seconds."""
        upper = self._next
        self._next = min(self._longest, upper * 2)
        return self._rng.uniform(upper / 2, upper)

    def reset(self) -> None:
        """Begin again with the first delay."""
        self._next = self._first


SETTLE_SECONDS: Final = 2.0
"""Without a fault until a database counts as back: while it elects, one call succeeds and the next does not."""


class Trouble:
    """Tells the log of a passing fault twice: when it begins, and when it is over. In between it only counts."""

    def __init__(
        self, log: Any, what: str, *, settle_seconds: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Speak of `what`, a few words such as "claiming"; it is over with what works so long after the last fault."""
        self._log = log
        self._what = what
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._last = 0.0
        self._times = 0

    def note(self, error: Exception) -> None:
        """Note the fault, which may be the same again."""
        if not self._times:
            self._log.warning(f"{self._what} is paused", problem=str(error))
        self._times += 1
        self._last = self._clock()

    def over(self) -> None:
        """Note that it works, which may be no news."""
        if self._times and self._clock() - self._last >= self._settle_seconds:
            self._log.info(f"{self._what} goes on", after_failures=self._times)
            self._times = 0


async def persist(call: Callable[[], Awaitable[Result]], *, seconds: float) -> Result:
    """Repeat `call` while it raises `TransientError`, for at most `seconds`; then raise that error.

    For writes that must not be given up at the first hiccup of the database (the outcome of a batch, of an attempt).
    """
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(TransientError),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        stop=stop_after_delay(seconds),
        reraise=True,
    )

    async def attempt() -> Result:  # tenacity awaits coroutine functions only, and a lambda is none
        return await call()

    return await retrying(attempt)
