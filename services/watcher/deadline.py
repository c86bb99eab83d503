"""The time that hosts have for an image, all attempts together: it passes only while we wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType


class Deadline:
    """A number of seconds, used up by what happens inside `async with`, again and again, for one task at a time.

    Where they are used up, the context ends with `TimeoutError`.
    """

    __slots__ = ("_began", "_running", "left")

    def __init__(self, seconds: float) -> None:
        """Begin with all `seconds` left."""
        self.left = seconds
        self._began = 0.0
        self._running: asyncio.Timeout

    async def __aenter__(self) -> None:
        self._running = asyncio.timeout(self.left)
        await self._running.__aenter__()
        self._began = asyncio.get_running_loop().time()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.left -= asyncio.get_running_loop().time() - self._began
        await self._running.__aexit__(kind, error, trace)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Stop the clock, inside the context, while this process itself is the reason for waiting."""
        clock = asyncio.get_running_loop().time
        self.left -= clock() - self._began
        self._running.reschedule(None)
        try:
            yield
        finally:
            self._began = clock()
            self._running.reschedule(self._began + self.left)
