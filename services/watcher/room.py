"""Room for decoded pixels: what the codec threads of a process may have in memory together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Room:
    """`total` units that threads share. Whoever does not fit waits at the door, and so do all who come after."""

    def __init__(self, total: int) -> None:
        """Begin empty."""
        self._total = total
        self._door = threading.Lock()
        self._left = threading.Condition()
        self.in_use = 0

    @property
    def has_waiting(self) -> bool:
        """Whether somebody stands at the door."""
        return self._door.locked()

    @contextmanager
    def hold(self, units: int) -> Iterator[None]:
        """Hold `units` while the context lasts; who is alone may hold more than the total."""
        with self._door, self._left:
            self._left.wait_for(lambda: not self.in_use or self.in_use + units <= self._total)
            self.in_use += units
        try:
            yield
        finally:
            with self._left:
                self.in_use -= units
                self._left.notify()
