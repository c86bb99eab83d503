"""Notices that nothing has been heard for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Silence:
    """One timer for all the waits of a connection: to set one anew at each costs more than to look if it was right."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, tell: Callable[[], None]) -> None:
        """Call `tell` when a wait has heard nothing for `seconds`, once a wait."""
        self._loop = loop
        self._seconds = seconds
        self._tell = tell
        self._is_awaited = False
        self._heard = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Wait from now on."""
        self._is_awaited = True
        self.heard()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._look)

    def heard(self) -> None:
        """Something was heard at this moment."""
        self._heard = self._loop.time()

    def end(self) -> None:
        """Wait no more; silence means nothing now."""
        self._is_awaited = False

    def close(self) -> None:
        """Wait no more, ever."""
        self.end()
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if not self._is_awaited:
            return
        left = self._heard + self._seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._is_awaited = False
            self._tell()
