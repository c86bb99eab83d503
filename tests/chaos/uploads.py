"""Clients that upload CSVs of all sizes, and try again, as a new upload, whenever they were not told "accepted"."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import httpx

from tests.chaos.facts import Planned, Wanted, Wish
from tests.support.uploads import HEADER

SIZES: Final = (1500, 700, 300, 150, 70, *(40, 25, 12, 9, 5, 4, 3, 2, 1, 1) * 3)
"""Images of an upload; drawn over and over in a random order until there are enough."""

GONE_SHARE: Final = 0.02
"""Pictures that the origin does not have."""

UPLOAD_SECONDS: Final = 20.0
RETRY_SECONDS: Final = (0.2, 1.5)


class Refused(Exception):
    """An ingest answered something that a client cannot make sense of."""


@dataclass(frozen=True)
class Csv:
    """A file to be uploaded, and what is in it."""

    name: str
    planned: Planned


@dataclass
class Clients:
    """What the clients did, for the ledger."""

    planned: dict[str, Planned] = field(default_factory=dict)
    answered: dict[str, str] = field(default_factory=dict)
    wishes: dict[str, list[Wish]] = field(default_factory=dict)
    tries: int = 0

    def told_yes(self, wanted: Wanted) -> int:
        """Return how many wishes of a kind were answered with yes."""
        return sum(wish.wanted is wanted and wish.sure for wishes in self.wishes.values() for wish in wishes)


def plan(rng: random.Random, images: int) -> list[Csv]:
    """Return CSVs with at least `images` pictures in all, each picture with a number of its own."""
    files: list[Csv] = []
    number = 0
    while number < images:
        for size in rng.sample(SIZES, len(SIZES)):
            if number < images:
                size = min(size, max(1, images // 4))  # in a short run the giants are smaller
                files.append(_csv(rng, f"upload{len(files)}", range(number, number + size)))
                number += size
    return files


def _csv(rng: random.Random, name: str, numbers: range) -> Csv:
    """Spread pictures over rows of one to five."""
    pictures = {}
    row = n = 0
    for number in numbers:
        pictures[row, n] = number
        row, n = (row, n + 1) if n < 4 and rng.random() < 0.5 else (row + 1, 0)
    return Csv(name, Planned(pictures, frozenset(number for number in numbers if rng.random() < GONE_SHARE)))


def text_of(csv: Csv, url: Callable[[int], str]) -> bytes:
    """Return the file as bytes, with the URL of each picture."""
    rows: dict[int, list[str]] = {}
    for (row, _), number in sorted(csv.planned.pictures.items()):
        rows.setdefault(row, []).append(url(number))
    return (HEADER + "".join(f"{row},SKU{row},{','.join(urls)}\n" for row, urls in rows.items())).encode()


async def upload(
    client: httpx.AsyncClient,
    csv: Csv,
    content: bytes,
    *,
    ingests: list[str],
    hook: str,
    rng: random.Random,
    seen: Clients,
) -> str:
    """Upload a file until an ingest says that it is accepted; return the request id. Raises `Refused`."""
    while True:
        name = f"{csv.name}-try{seen.tries}"
        seen.planned[name] = csv.planned
        seen.tries += 1
        request_id = await _try(client, rng.choice(ingests), name, content, hook)
        if request_id is not None:
            seen.answered[request_id] = name
            return request_id
        await asyncio.sleep(rng.uniform(*RETRY_SECONDS))


async def _try(client: httpx.AsyncClient, ingest: str, name: str, content: bytes, hook: str) -> str | None:
    """Return the request id, None where the client cannot know whether there is one."""
    try:
        answer = await client.post(
            f"{ingest}/api/upload", files={"file": (name, content, "text/csv")}, data={"webhook_url": hook}
        )
    except httpx.TransportError:
        return None
    if answer.status_code == 503:
        return None
    if answer.status_code != 200:
        raise Refused(f"{name}: {answer.status_code} {answer.text[:300]}")
    request_id: str = answer.json()["request_id"]
    return request_id
