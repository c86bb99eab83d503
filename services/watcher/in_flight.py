"""What is being made at the moment, so that the same thing is not made twice at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from imagepress.errors import ImageError

Result = TypeVar("Result")


class InFlight(Generic[Result]):
    """Whoever asks for what another one is making waits for that; nobody waits for more than one maker."""

    def __init__(self) -> None:
        """Begin with nothing under way."""
        self._under_way: dict[Hashable, asyncio.Future[Result | ImageError | None]] = {}

    def __len__(self) -> int:
        """Return how many things are being made."""
        return len(self._under_way)

    async def once(self, key: Hashable, make: Callable[[], Awaitable[Result]]) -> tuple[Result, bool]:
        """Return what `make` returns or, if `key` is being made already, what that comes to; and whether it was ours.

        An ImageError is shared as well. Where the other maker is cancelled or fails otherwise, this one makes it.
        """
        while (other := self._under_way.get(key)) is not None:
            await asyncio.wait({other})  # unlike awaiting it, this leaves it alone where we are cancelled
            outcome = other.result()
            if isinstance(outcome, ImageError):
                # A copy: one error raised in several tasks would mix their tracebacks up.
                raise ImageError(outcome.code, outcome.message)
            if outcome is not None:
                return outcome, False
        return await self._make(key, make), True

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[Result]]) -> Result:
        ours = self._under_way[key] = asyncio.get_running_loop().create_future()
        outcome: Result | ImageError | None = None  # broken off, which says nothing about the thing itself
        try:
            outcome = result = await make()
        except ImageError as error:
            outcome = error
            raise
        finally:
            del self._under_way[key]
            ours.set_result(outcome)
        return result
