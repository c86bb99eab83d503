"""What each host may get at the moment: a limit for every one, and a breaker for those that fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from services.notifier.breaker import CLOSED, Open, State, after_failure, room

MOST_AILING: Final = 5000
"""Hosts whose failures are remembered; beyond it the one that began to fail first is forgotten, and starts anew."""


@dataclass
class Hosts:
    """The hosts of one notifier. `clock` is any steady clock in seconds."""

    per_host: int
    clock: Callable[[], float]
    in_flight: Counter[str] = field(default_factory=Counter)
    _ailing: dict[str, State] = field(default_factory=dict)

    def room(self, host: str) -> int:
        """Return how many more POSTs `host` may get now."""
        allowed = room(self._ailing.get(host, CLOSED), self.clock(), self.per_host)
        return max(0, allowed - self.in_flight[host])

    def begin(self, host: str) -> None:
        """Note a POST under way."""
        self.in_flight[host] += 1

    def end(self, host: str) -> None:
        """Note that it is over."""
        self.in_flight[host] -= 1
        if not self.in_flight[host]:
            del self.in_flight[host]

    def judge(self, host: str, *, ailing: bool) -> State | None:
        """Note how a host did; return its new state where its breaker opened (again), or closed after a rest."""
        before = self._ailing.get(host, CLOSED)
        if not ailing:
            self._ailing.pop(host, None)
            return CLOSED if isinstance(before, Open) else None
        after = self._ailing[host] = after_failure(before, self.clock())
        if len(self._ailing) > MOST_AILING:
            del self._ailing[next(iter(self._ailing))]
        return after if isinstance(after, Open) and after != before else None

    @property
    def resting(self) -> int:
        """How many hosts have an open breaker."""
        return sum(isinstance(state, Open) for state in self._ailing.values())

    def next_probe_seconds(self) -> float | None:
        """Return the seconds until the next host may be probed, None where none rests."""
        waits = [state.probe_at - self.clock() for state in self._ailing.values() if isinstance(state, Open)]
        return min((wait for wait in waits if wait > 0), default=None)
