"""How hosts are spared: few requests to one at a time, and none while it asks to be left alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from services.watcher.turns import Turns

# Enough for every host that a process can hear from within a pause; beyond it, memory matters more than manners.
_MOST_PAUSES = 10_000


@dataclass(slots=True)
class _Host:
    name: str
    places: Turns
    users: int = 0  # inside or waiting; at none the host is forgotten


class Pacing:
    """At most `per_host` slots in use for one host; no slot is given while the host is paused."""

    def __init__(self, per_host: int, longest_pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Cap pauses at `longest_pause` seconds: a host must not park our work for days."""
        self._per_host = per_host
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

    def slot(self, host: str, deadline: asyncio.Timeout | None = None, turn_of: str = "") -> _Slot:
        """Return a context that holds one of the host's slots, waiting for it, and for the end of a pause.

        Batches that wait for the same host are served by turns; `turn_of` says which one asks. `deadline` stands still
        in the queue, which is our own doing, but not during a pause, which is the host's.
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

    async def _enter(self, host: _Host, deadline: asyncio.Timeout | None, turn_of: str) -> None:
        while True:
            # Everybody sits out the pause outside: a place held meanwhile would stop the clock of those behind.
            if left := self.pause_left(host.name):
                await asyncio.sleep(left)
                continue  # it may have been prolonged
            if not host.places.is_full:
                await host.places.acquire(turn_of)
                return
            with standing_still(deadline):
                await host.places.acquire(turn_of)
            if not self.pause_left(host.name):
                return
            host.places.release()

    def _forget_pauses(self) -> None:
        """Forget the pauses that are over, and the oldest where that does not help."""
        now = self._clock()
        running = [(host, until) for host, until in self._paused_until.items() if until > now]
        self._paused_until = dict(running[-_MOST_PAUSES // 2 :])


class _Slot:
    """One slot of one host. (Written out: a generator's context manager costs three times as much, a good 5 µs.)"""

    __slots__ = ("_deadline", "_host", "_name", "_pacing", "_turn_of")

    def __init__(self, pacing: Pacing, name: str, deadline: asyncio.Timeout | None, turn_of: str) -> None:
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
        self._host.places.release()
        self._pacing._leave(self._host)


@contextmanager
def standing_still(deadline: asyncio.Timeout | None) -> Iterator[None]:
    """Stop the clock of `deadline` (None: there is none) while this process itself is the reason for waiting."""
    when = deadline.when() if deadline else None
    if deadline is None or when is None:
        yield
        return
    loop = asyncio.get_running_loop()
    since = loop.time()
    deadline.reschedule(None)
    try:
        yield
    finally:
        deadline.reschedule(when + loop.time() - since)
