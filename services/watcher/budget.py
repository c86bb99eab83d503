"""What all images of a process may hold together: bytes in flight, or decoded pixels.

Nothing waits for ever: the oldest holding is never refused, so it finishes and makes room. At any moment the sum is
therefore at most the total plus what the oldest alone holds.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from contextlib import suppress
from types import TracebackType
from typing import Self


class Budget:
    """A number of units that holdings share; who does not fit waits, first come, first served."""

    def __init__(self, total: int) -> None:
        """Share `total` units."""
        if total < 1:
            raise ValueError("a budget needs at least one unit")
        self.total = total
        self.in_use = 0
        # Oldest first. A holding has an age from its first unit (or from asking for it), not from its creation: one
        # that still waits elsewhere, say for a host, must not be the oldest while others wait for it to finish.
        self._by_age: OrderedDict[Holding, None] = OrderedDict()
        self._waiting: deque[Holding] = deque()

    def hold(self, units: int = 0) -> Holding:
        """Return a holding for `async with`, which waits for `units` at its start and gives all back at its end."""
        return Holding(self, units)

    @property
    def waiting(self) -> int:
        """How many holdings wait for units."""
        return len(self._waiting)

    def _admits(self, holding: Holding, units: int) -> bool:
        return next(iter(self._by_age)) is holding or self.in_use + units <= self.total

    def _take(self, holding: Holding, units: int) -> None:
        self.in_use += units
        holding.units += units

    def _give_back(self, holding: Holding, units: int) -> None:
        self.in_use -= units
        holding.units -= units
        if not holding.units:
            self._by_age.pop(holding, None)
        self._wake()

    def _wake(self) -> None:
        """Serve the oldest holding if it waits, then the queue for as long as its head fits."""
        oldest = next(iter(self._by_age), None)
        if oldest is not None and oldest in self._waiting:
            self._waiting.remove(oldest)
            self._grant(oldest)
        while self._waiting and self._admits(self._waiting[0], self._waiting[0].wanted):
            self._grant(self._waiting.popleft())

    def _grant(self, holding: Holding) -> None:
        if not holding.granted.cancelled():  # else its task has yet to run, and to clean up after itself
            self._take(holding, holding.wanted)
            holding.granted.set_result(None)


class Holding:
    """What one image holds of a budget; for one task at a time."""

    __slots__ = ("_at_start", "_budget", "granted", "units", "wanted")

    def __init__(self, budget: Budget, at_start: int) -> None:
        """Belong to `budget`; use `Budget.hold`."""
        self._budget = budget
        self._at_start = at_start
        self.units = 0
        self.wanted = 0
        self.granted: asyncio.Future[None]

    def try_grow(self, units: int) -> bool:
        """Take `units` more if they are free and nobody waits for them (or this is the oldest); say whether."""
        budget = self._budget
        budget._by_age.setdefault(self)
        if budget._admits(self, units) and (not budget._waiting or next(iter(budget._by_age)) is self):
            budget._take(self, units)
            return True
        if not self.units:
            del budget._by_age[self]
        return False

    async def grow(self, units: int) -> None:
        """Take `units` more, waiting until they fit. If cancelled, the holding is as it was before."""
        if self.try_grow(units):
            return
        budget = self._budget
        budget._by_age.setdefault(self)
        self.wanted = units
        self.granted = asyncio.get_running_loop().create_future()
        budget._waiting.append(self)
        try:
            await self.granted
        except asyncio.CancelledError:
            if self.granted.cancelled():
                with suppress(ValueError):  # its turn came, and was passed over
                    budget._waiting.remove(self)
                budget._give_back(self, 0)  # drops the age of an empty holding, and lets the queue move up
            else:
                budget._give_back(self, units)  # granted in the very moment of the cancellation
            raise

    def give_back(self) -> None:
        """Return everything held: the image is done, or its next attempt starts from nothing."""
        self._budget._give_back(self, self.units)

    async def __aenter__(self) -> Self:
        if self._at_start:
            await self.grow(self._at_start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()
