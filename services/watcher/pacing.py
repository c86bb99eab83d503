"""How hosts are spared: few requests to one at a time, and none while it asks to be left alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from services.watcher.deadline import Deadline
from services.watcher.turns import Turns

# Enough for every host that a process can hear from within a pause; beyond it, memory matters more than manners.
_MOST_PAUSES = 10_000


@dataclass(slots=True)
class _Host:
    name: str
    places: Turns
    users: int = 0  # inside or waiting; at none the host is forgotten


class Pacing:
    """At most `per_host` slots in use for one host, and `at_once` for all; none is given while its host is paused."""

    def __init__(
        self, per_host: int, at_once: int, longest_pause: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Cap pauses at `longest_pause` seconds: a host must not park our work for days."""
        self._per_host = per_host
        self._places = Turns(at_once)
        self._longest_pause = longest_pause
        self._clock = clock
        self._hosts: dict[str, _Host] = {}
        self._paused_until: dict[str, float] = {}

    def __len__(self) -> int:
        """Return the number of hosts remembered."""
        return len(self._hosts.keys() | self._paused_until.keys())

    def pause(self, host: str, seconds: float) -> None:
        """Give no slot of `host` for `seconds` (capped); a pause is never shortened by a later, shorter one."""
        until = self._clock() + min(seconds, self._longest_pause)
        until = max(until, self._paused_until.pop(host, 0.0))
        if len(self._paused_until) >= _MOST_PAUSES:
            self._forget_pauses()
        self._paused_until[host] = until

    def pause_left(self, host: str) -> float:
        """Return the seconds for which `host` is still paused, 0 if it is not."""
        until = self._paused_until.get(host)
        if until is None:
            return 0.0
        left = until - self._clock()
        if left > 0:
            return left
        del self._paused_until[host]
        return 0.0

    def slot(self, host: str, deadline: Deadline, turn_of: str = "") -> _Slot:
        """Return a context that holds one of the host's slots, waiting for it, and for the end of a pause.

        Batches that wait for the same thing are served by turns; `turn_of` says which one asks. A pause is the host's
        own doing, and uses `deadline` up; our queues do not.
        """
        return _Slot(self, host, deadline, turn_of)

    def _join(self, name: str) -> _Host:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host(name, Turns(self._per_host))
        host.users += 1
        return host

    def _leave(self, host: _Host) -> None:
        host.users -= 1
        if not host.users:
            del self._hosts[host.name]

    async def _enter(self, host: _Host, deadline: Deadline, turn_of: str) -> None:
        while True:
            # Everybody sits out the pause outside: a place held meanwhile would be missed by those behind.
            if left := self.pause_left(host.name):
                async with deadline:
                    await asyncio.sleep(left)
                continue  # it may have been prolonged
            # The host's first: those who wait for one host must not fill the places of all.
            await host.places.acquire(turn_of)
            try:
                await self._places.acquire(turn_of)
            except BaseException:
                host.places.release()
                raise
            if not self.pause_left(host.name):
                return
            self._release(host)

    def _release(self, host: _Host) -> None:
        self._places.release()
        host.places.release()

    def _forget_pauses(self) -> None:
        """Forget the pauses that are over, and the oldest where that does not help."""
        now = self._clock()
        running = [(host, until) for host, until in self._paused_until.items() if until > now]
        self._paused_until = dict(running[-_MOST_PAUSES // 2 :])


class _Slot:
    """One slot of one host. (Written out: a generator's context manager costs three times as much, a good 5 µs.)"""

    __slots__ = ("_deadline", "_host", "_name", "_pacing", "_turn_of")

    def __init__(self, pacing: Pacing, name: str, deadline: Deadline, turn_of: str) -> None:
        self._pacing = pacing
        self._name = name
        self._deadline = deadline
        self._turn_of = turn_of

    async def __aenter__(self) -> None:
        self._host = self._pacing._join(self._name)
        try:
            await self._pacing._enter(self._host, self._deadline, self._turn_of)
        except BaseException:
            self._pacing._leave(self._host)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pacing._release(self._host)
        self._pacing._leave(self._host)
