"""A request in the middle: some of its images are done, the others wait at the origin until the test lets them go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from tests.support import origin as origins
from tests.support.calls import status_of
from tests.support.origin import Origin
from tests.support.processes import Service, eventually


def hold_back(origin: Origin, numbers: Iterable[int]) -> asyncio.Event:
    """Let the pictures under these numbers wait until the event that is returned."""
    gate = asyncio.Event()
    for number in numbers:
        origin.answers[f"/{number}"] = origins.held(gate, origin.answers[f"/{number}"])
    return gate


async def until_done(ingest: Service, request_id: str, images: int) -> None:
    """Wait until so many images of a request have succeeded."""

    async def done() -> bool:
        return bool((await status_of(ingest, request_id))["images"]["succeeded"] >= images)

    await eventually(done)
