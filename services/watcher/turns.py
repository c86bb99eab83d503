"""A few places that many batches share fairly: whoever waits longest within its batch, and the batches by turns.

With a plain semaphore the four images of a small upload would wait behind the hundreds of a giant's batch.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from types import TracebackType


class Turns:
    """A semaphore of `places` whose waiters are served round-robin by key."""

    def __init__(self, places: int) -> None:
        """Begin with all places free."""
        self._free = places
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def place(self, key: str) -> _Place:
        """Return a context that holds a place, waiting for the turn of `key`."""
        return _Place(self, key)

    async def acquire(self, key: str) -> None:
        """Take a place, waiting for the turn of `key`; `release` gives it back."""
        if self._free:  # nobody waits while a place is free
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(key, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(key, turn)
            else:
                self.release()  # it was given the place in the very moment of its cancellation
            raise

    def _forget(self, key: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(key)
        if queue is None or turn not in queue:
            return  # a release came between the cancellation and this, and passed it over
        queue.remove(turn)
        if not queue:
            del self._queues[key]

    def release(self) -> None:
        """Give a place to the next in turn, or leave it free."""
        while self._queues:
            key, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._queues[key] = queue  # behind the other batches
            if not turn.done():  # else it was cancelled, and its task has not run since
                turn.set_result(None)
                return
        self._free += 1


class _Place:
    """One place. (Written out: a generator's context manager costs three times as much, a good 5 µs.)"""

    __slots__ = ("_key", "_turns")

    def __init__(self, turns: Turns, key: str) -> None:
        self._turns = turns
        self._key = key

    async def __aenter__(self) -> None:
        await self._turns.acquire(self._key)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._turns.release()
