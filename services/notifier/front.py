"""How far a notifier has looked at what came due, and which hosts it left behind there.

A look costs what came due since the last one, not what waits: it begins where the last one ended, and passes over the
hosts left behind, those with more due than they have room for. They are looked at by themselves, as they get room.
Only once in SWEEP_SECONDS a look goes back to the beginning: for a clock that was set, or an update that took long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

OVERLAP_SECONDS: Final = 1.0
"""How far a look goes back behind the last one: a write bears the time at which it began, and is seen when it ends."""

MOST_BEHIND: Final = 5000
"""Hosts left behind that are remembered; of further ones the next look from the beginning finds what is due."""

MOST_READY: Final = 100
"""Of them, looked at together: the server merges an ordered scan for each."""


@dataclass(frozen=True, slots=True)
class Reach:
    """A look at what came due: when it began, and how many seconds it goes back; None: to the beginning."""

    began: float
    seconds_back: float | None


class Front:
    """The front of one notifier. `clock` is any steady clock in seconds; `behind` has the longest left first."""

    def __init__(self, clock: Callable[[], float], *, sweep_seconds: float) -> None:
        """Have seen nothing yet."""
        self._clock = clock
        self._sweep_seconds = sweep_seconds
        self.behind: dict[str, None] = {}
        self.start_anew()

    def start_anew(self) -> None:
        """Take nothing for seen any more: after trouble another primary may answer, with another clock."""
        self._reached = self._swept = self._next = -math.inf

    def reach(self) -> Reach:
        """Return how far the next look goes."""
        now = self._clock()
        if now >= self._swept + self._sweep_seconds:
            return Reach(now, None)
        return Reach(now, now - self._reached + OVERLAP_SECONDS)

    def looked(self, reach: Reach, *, exhausted: bool, crowded: Iterable[str]) -> bool:
        """Note a look that left hosts behind, `crowded`; return whether it was the last one for now.

        It is if `exhausted` (nothing else was due that may be sent), or where no more hosts can be remembered.
        """
        new = [host for host in crowded if host not in self.behind]
        memory = MOST_BEHIND - len(self.behind)
        self.behind.update(dict.fromkeys(new[:memory]))
        is_last = exhausted or len(new) > memory
        if is_last:
            self._reached = reach.began
            if reach.seconds_back is None:
                self._swept = reach.began
        return is_last

    def ready(self, room: Callable[[str], int]) -> list[str]:
        """Return hosts left behind that have room again, at most `MOST_READY`."""
        return [host for host in self.behind if room(host) > 0][:MOST_READY]

    def caught_up(self, hosts: Sequence[str], *, exhausted: bool, crowded: Iterable[str]) -> None:
        """Note a look at `hosts` alone; who has still more due goes to the end of the line."""
        for host in hosts:
            del self.behind[host]
        still = list(crowded) if exhausted else hosts
        self.behind.update(dict.fromkeys(still))
        if len(still) < len(hosts):
            self._next = -math.inf  # what comes due next at the others was not asked for

    def expect(self, seconds: float) -> bool:
        """Note that something comes due in `seconds`; return whether that is sooner than anything known."""
        at = self._clock() + seconds
        sooner = at < self._next
        self._next = min(at, self._next)
        return sooner

    def unseen_seconds(self) -> float | None:
        """Return the seconds since the last look, where what comes due next must be asked for; None where it is known.

        Until it is told by `expect`, it is taken for a sweep away.
        """
        now = self._clock()
        if now < self._next:
            return None
        self._next = now + self._sweep_seconds
        return now - self._reached

    def seconds_to_next(self) -> float:
        """Return the seconds until something is known to come due, or the next look from the beginning."""
        return min(self._next, self._swept + self._sweep_seconds) - self._clock()
