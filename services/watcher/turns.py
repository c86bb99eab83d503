"""A few places that many batches share fairly: whoever waits longest within its batch, and the batches by turns.

With a plain semaphore the four images of a small upload would wait behind the sixty-four of a giant's batch.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A semaphore of `places` whose waiters are served round-robin by key."""

    def __init__(self, places: int) -> None:
        """Begin with all places free."""
        self._free = places
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def place(self, key: str) -> AsyncIterator[None]:
        """Hold a place while the context lasts, waiting for the turn of `key`."""
        await self._acquire(key)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, key: str) -> None:
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
                self._release()  # it was given the place in the very moment of its cancellation
            raise

    def _forget(self, key: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(key)
        if queue is None or turn not in queue:
            return  # a release came between the cancellation and this, and passed it over
        queue.remove(turn)
        if not queue:
            del self._queues[key]

    def _release(self) -> None:
        while self._queues:
            key, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._queues[key] = queue  # behind the other batches
            if not turn.done():  # else it was cancelled, and its task has not run since
                turn.set_result(None)
                return
        self._free += 1
