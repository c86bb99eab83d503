"""How hosts are spared: few requests to one at a time, and none while it asks to be left alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

# Enough for every host that a process can hear from within a pause; beyond it, memory matters more than manners.
_MOST_PAUSES = 10_000


@dataclass(slots=True)
class _Host:
    places: asyncio.Semaphore  # first come, first served
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

    @asynccontextmanager
    async def slot(self, host: str, deadline: asyncio.Timeout | None = None) -> AsyncIterator[None]:
        """Hold one of the host's slots, waiting for it, and for the end of a pause, as long as it takes.

        `deadline` stands still in the queue, which is our own doing, but not during a pause, which is the host's.
        """
        entry = self._hosts.get(host)
        if entry is None:
            entry = self._hosts[host] = _Host(asyncio.Semaphore(self._per_host))
        entry.users += 1
        try:
            await self._enter(host, entry.places, deadline)
            try:
                yield
            finally:
                entry.places.release()
        finally:
            entry.users -= 1
            if not entry.users:
                del self._hosts[host]

    async def _enter(self, host: str, places: asyncio.Semaphore, deadline: asyncio.Timeout | None) -> None:
        while True:
            # Everybody sits out the pause outside: a place held meanwhile would stop the clock of those behind.
            if left := self.pause_left(host):
                await asyncio.sleep(left)
                continue  # it may have been prolonged
            if places.locked():
                with standing_still(deadline):
                    await places.acquire()
            else:
                await places.acquire()
            if not self.pause_left(host):
                return
            places.release()

    def _forget_pauses(self) -> None:
        """Forget the pauses that are over, and the oldest where that does not help."""
        now = self._clock()
        running = [(host, until) for host, until in self._paused_until.items() if until > now]
        self._paused_until = dict(running[-_MOST_PAUSES // 2 :])


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
