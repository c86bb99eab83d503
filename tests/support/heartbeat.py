"""How long an event loop is kept from its other work, by what its thread computes between two heartbeats.

Seconds of the thread's own processor time, not of the clock: a machine that is busy with other things is no fault of
the loop's. A loop that waits (for a lock, a disk) without computing is therefore not noticed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

BEAT_SECONDS: Final = 0.001


@dataclass
class Heart:
    """How often it has beaten, and the longest time that the loop's thread computed without letting it."""

    beats: int = 0
    longest: float = 0.0


@asynccontextmanager
async def heart() -> AsyncIterator[Heart]:
    """Beat in the running loop until the context ends."""
    told = Heart()

    async def beat() -> None:
        since = time.thread_time()
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            now = time.thread_time()
            told.beats += 1
            told.longest = max(told.longest, now - since)
            since = now

    task = asyncio.create_task(beat(), name="heart")
    try:
        yield told
    finally:
        task.cancel()
        await asyncio.wait({task})
