"""An origin and a receiver that are as unreliable as those on the Internet, within bounds that give everything an end.

How each URL fails is drawn from the seed and its own name, so that it does not depend on who asks first.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from tests.chaos.facts import CallFact
from tests.support import origin as origins
from tests.support.identity import picture
from tests.support.origin import Answer
from tests.support.receiver import Call, Receiver

MOST_FAULTS: Final = 2
"""Faults of one picture: fewer than a fetch has tries, so that no picture may end as failed because of them."""

CALM: Final = 0.88
"""The share of pictures, and of webhooks, that come well at once."""

SLOW_SECONDS: Final = (0.05, 1.5)

LATE_SECONDS: Final = 2.0
"""Longer than the notifiers' WEBHOOK_TIMEOUT_SECONDS."""


def origin_answer(seed: int, number: int) -> Answer:
    """Return how the origin answers for picture `number`: up to `MOST_FAULTS` times badly, then always with it."""
    rng = random.Random(f"{seed} picture {number}")
    faults = [] if rng.random() < CALM else [_fault(rng) for _ in range(rng.randint(1, MOST_FAULTS))]
    slow = rng.uniform(*SLOW_SECONDS) if rng.random() > CALM else 0.0

    async def well(writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(slow)
        return await origins.body(picture(number))(writer)  # drawn anew each time: 6,000 of them would fill memory

    return origins.in_turn(*faults, well)


def _fault(rng: random.Random) -> Answer:
    kinds: list[Callable[[], Answer]] = [
        origins.reset,
        lambda: origins.status(500),
        lambda: origins.status(503),
        lambda: origins.lying(picture(0)[:500], declared=4000),
    ]
    return rng.choice(kinds)()


@dataclass
class Subscriber:
    """Whoever webhooks are sent to: fails some of the POSTs, and writes down what it made of each."""

    rng: random.Random
    calls: list[CallFact] = field(default_factory=list)
    well_from_now_on: bool = False

    def answer_as(self, receiver: Receiver) -> Answer:
        """Return the answer to what `receiver` was sent last."""

        async def write(writer: asyncio.StreamWriter) -> bool:
            well = self.well_from_now_on or self.rng.random() < CALM
            self.calls.append(_fact(receiver.received.pop(), welcome=well))
            return await (origins.status(200) if well else self._fault())(writer)

        return write

    def _fault(self) -> Answer:
        kinds: list[Answer] = [origins.reset(), origins.status(500), origins.status(400), _late]
        return self.rng.choice(kinds)


def _fact(call: Call, *, welcome: bool) -> CallFact:
    webhook_id = call.headers["webhook-id"]
    return CallFact(
        request_id=call.json["request_id"],
        run=int(webhook_id.rpartition("_")[2]),
        webhook_id=webhook_id,
        status=call.json["status"],
        ended_at=datetime.fromisoformat(call.json["timestamp"]),
        at=datetime.fromtimestamp(call.at, UTC),
        welcome=welcome,
    )


async def _late(writer: asyncio.StreamWriter) -> bool:
    """Answer when the notifier has hung up: it cannot know that the POST arrived, and must send it again."""
    await asyncio.sleep(LATE_SECONDS)
    return await origins.status(200)(writer)
