"""What many batches wait for is given out fairly: to whoever waits longest within its batch, and the batches by turns.

With a plain queue the four images of a small upload would wait behind the hundreds of a giant's batch.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class RoundRobin(Generic[Item]):
    """Items that wait, by key: the oldest of a key first, and the keys by turns."""

    def __init__(self) -> None:
        """Begin empty."""
        self._queues: OrderedDict[str, deque[Item]] = OrderedDict()

    def __bool__(self) -> bool:
        """Return whether anything waits."""
        return bool(self._queues)

    def put(self, key: str, item: Item) -> None:
        """Let `item` wait behind the others of `key`."""
        self._queues.setdefault(key, deque()).append(item)

    def take(self) -> Item:
        """Return the next in turn, which waits no more; its key goes behind the others. One must be waiting."""
        key, queue = self._queues.popitem(last=False)
        item = queue.popleft()
        if queue:
            self._queues[key] = queue
        return item

    def discard(self, key: str, item: Item) -> None:
        """Let `item` of `key` wait no more, if it does."""
        queue = self._queues.get(key)
        if queue is not None and item in queue:
            queue.remove(item)
            if not queue:
                del self._queues[key]


class Turns:
    """A semaphore of `places` whose waiters are served round-robin by key."""

    def __init__(self, places: int) -> None:
        """Begin with all places free."""
        self._free = places
        self._waiting = RoundRobin[asyncio.Future[None]]()

    async def acquire(self, key: str) -> None:
        """Take a place, waiting for the turn of `key`; `release` gives it back."""
        if self._free:  # nobody waits while a place is free
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.put(key, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting.discard(key, turn)  # unless a release came in between, and passed it over
            else:
                self.release()  # it was given the place in the very moment of its cancellation
            raise

    def release(self) -> None:
        """Give a place to the next in turn, or leave it free."""
        while self._waiting:
            turn = self._waiting.take()
            if not turn.done():  # else it was cancelled, and its task has not run since
                turn.set_result(None)
                return
        self._free += 1
