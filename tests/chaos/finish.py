"""After the last blow: everything is left to finish, and what does not come about in time is for the ledger to tell."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from imagepress.documents import ACTIVE, BatchStatus, WebhookState
from imagepress.driver_errors import translated
from imagepress.errors import TransientError
from imagepress.mongo import Database
from tests.support.processes import eventually

FINISH_SECONDS: Final = 120.0
"""What the system has, once nothing strikes it any more, for each thing that it is to finish."""


@dataclass(frozen=True)
class Finish:
    """Waits for the ends."""

    database: Database
    say: Callable[[str], None]

    async def wait(self) -> None:
        """Return when nothing is left to do, or too much time has passed."""
        await self._until("requests end", self._all_ended)
        await self._until("webhooks arrive", self._all_told)
        # The sweep spares staged batches for an hour: they might belong to an upload that is under way.
        past = {"$dateSubtract": {"startDate": "$$NOW", "unit": "hour", "amount": 2}}
        with translated():
            await self.database.batches.update_many({"status": BatchStatus.STAGED}, [{"$set": {"staged_at": past}}])
        await self._until("batches of broken uploads and retries go", self._none_staged)

    async def _until(self, what: str, condition: Callable[[], Awaitable[bool]]) -> None:
        began = time.monotonic()
        try:
            await eventually(_patient(condition), FINISH_SECONDS)
        except TimeoutError:
            self.say(f"given up waiting until {what}")
        else:
            self.say(f"waited {time.monotonic() - began:.1f} s until {what}")

    async def _all_ended(self) -> bool:
        return await self.database.requests.find_one({"status": {"$in": ACTIVE}}) is None

    async def _all_told(self) -> bool:
        return await self.database.requests.find_one({"webhook.state": WebhookState.DUE}) is None

    async def _none_staged(self) -> bool:
        return await self.database.batches.find_one({"status": BatchStatus.STAGED}) is None


def _patient(condition: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    """Take a database that is away for a moment for "not yet"."""

    async def holds() -> bool:
        try:
            with translated():
                return await condition()
        except TransientError:
            return False

    return holds
