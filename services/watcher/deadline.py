"""The time that hosts have for an image, all attempts together: it passes only while we wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from operator import itemgetter
from types import TracebackType
from typing import Any, Final

_ROUNDING_SECONDS: Final = 0.001
"""uvloop's timers have whole milliseconds: one that came too early would come again and again until it is time."""


class Alarms:
    """One timer for all deadlines of an event loop, set for the next of them, or for one that has ended since.

    `asyncio.timeout` has one for each, which costs four times as much: nearly all end long before they would ring.
    """

    def __init__(self) -> None:
        """Belong to the running loop."""
        self._loop = asyncio.get_running_loop()
        self.time = self._loop.time
        self._ends: dict[Deadline, float] = {}
        self._next = inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, deadline: Deadline, end: float) -> None:
        """Ring `deadline` at `end`, by `time`, once."""
        self._ends[deadline] = end
        if end < self._next:
            self._look_at(end)

    def stop(self, deadline: Deadline) -> None:
        """Do not ring it."""
        self._ends.pop(deadline, None)

    def _look_at(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = moment
        self._timer = self._loop.call_at(moment + _ROUNDING_SECONDS, self._look)

    def _look(self) -> None:
        now = self.time()
        self._next, self._timer = inf, None
        for deadline, end in sorted(self._ends.items(), key=itemgetter(1)):
            if end > now:
                self._look_at(end)
                return
            del self._ends[deadline]
            deadline.ring()


class Deadline:
    """A number of seconds, used up by what a task does inside `async with`, again and again, for one task at a time.

    Where they are used up, the context ends with `TimeoutError`. Outside of a task it raises `RuntimeError`.
    """

    __slots__ = ("_alarms", "_began", "_cancelling", "_has_rung", "_task", "left")

    def __init__(self, seconds: float, alarms: Alarms) -> None:
        """Begin with all `seconds` left."""
        self.left = seconds
        self._alarms = alarms
        self._began = 0.0
        self._has_rung = False
        self._task: asyncio.Task[Any]
        self._cancelling = 0

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline ends a task, and here is none")
        self._task, self._cancelling = task, task.cancelling()
        self._go_on()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._halt()
        if self._has_rung:
            self._has_rung = False
            # As in `asyncio.timeout`: somebody else may have cancelled the task, too.
            if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from error

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Stop the clock, inside the context, while this process itself is the reason for waiting."""
        self._halt()
        try:
            yield
        finally:
            self._go_on()

    def _go_on(self) -> None:
        self._began = self._alarms.time()
        if not self._has_rung:
            self._alarms.set(self, self._began + self.left)

    def _halt(self) -> None:
        self.left -= self._alarms.time() - self._began
        self._alarms.stop(self)

    def ring(self) -> None:
        """The seconds are used up: end what the task is at."""
        self._has_rung = True
        self._task.cancel()
