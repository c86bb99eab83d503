"""Clients that change their mind: some cancel what they have uploaded, and try again what failed or was cancelled."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any, Final

import httpx

from tests.chaos.facts import Wanted, Wish
from tests.chaos.uploads import Clients, Refused

CANCELS: Final = 0.25
"""The share of requests that are cancelled, a moment after the upload."""

CANCEL_AFTER_SECONDS: Final = (0.0, 5.0)

RETRIES: Final = {"cancelled": 0.7, "completed": 0.3, "failed": 0.7}
"""The share of ended requests that are tried again, by how they ended."""

MOST_RUNS: Final = 3
LOOK_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 30.0
"""A client that waits for an end does so no longer: while everything is struck a giant may take its time."""


@dataclass(frozen=True)
class Mind:
    """A client's of one request, which nobody else cancels or tries again."""

    client: httpx.AsyncClient
    ingests: list[str]
    request_id: str
    rng: random.Random
    seen: Clients

    async def go_on(self) -> None:
        """Cancel and try again as the dice fall."""
        for _ in range(MOST_RUNS - 1):
            if self.rng.random() < CANCELS:
                await asyncio.sleep(self.rng.uniform(*CANCEL_AFTER_SECONDS))
                await self._ask(Wanted.CANCEL)
            status = await self._until_ended()
            if status is None or self.rng.random() > RETRIES[status["status"]]:
                return
            await self._ask(Wanted.RETRY, delivered=status["webhook"]["state"] == "delivered")

    async def _ask(self, wanted: Wanted, *, delivered: bool = False) -> None:
        """Ask once, and write down what may come of it: nothing where it was refused, since it was too late."""
        answer = await self._call("POST", f"/api/requests/{self.request_id}/{wanted}")
        if answer is None or answer.status_code == 200:
            wish = Wish(wanted, sure=answer is not None, delivered=delivered)
            self.seen.wishes.setdefault(self.request_id, []).append(wish)
        elif answer.status_code != 409:
            raise Refused(f"{wanted} of {self.request_id}: {answer.status_code} {answer.text[:300]}")

    async def _until_ended(self) -> dict[str, Any] | None:
        """Return the status of a request that has ended, None where that takes too long."""
        for _ in range(int(PATIENCE_SECONDS / LOOK_SECONDS)):
            answer = await self._call("GET", f"/api/status?request_id={self.request_id}&limit=1")
            if answer is not None:
                status: dict[str, Any] = answer.raise_for_status().json()
                if status["status"] in RETRIES:
                    return status
            await asyncio.sleep(LOOK_SECONDS)
        return None

    async def _call(self, method: str, path: str) -> httpx.Response | None:
        """Return an answer, None where there was none that says anything: the connection broke, or MongoDB is away."""
        try:
            answer = await self.client.request(method, self.rng.choice(self.ingests) + path)
        except httpx.TransportError:
            return None
        return None if answer.status_code == 503 else answer
