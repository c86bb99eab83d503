"""Rule 6, on a simulated clock: neither does a giant hold up small uploads, nor a stream of small ones a giant.

Turns and claims are the services' own, on a real MongoDB. Each simulated second the system finishes one batch, and its
uploads find the server's clock in the turn of that second.
"""

from __future__ import annotations

from typing import Final

from imagepress.documents import BatchStatus
from imagepress.mongo import Database, server_time
from services.ingest.settings import IngestSettings
from services.watcher import queries
from services.watcher.queries import Progress
from tests.conftest import MakeSettings
from tests.support.uploads import accepted

TURN_SECONDS: Final = 5
FIRST_TURN: Final = 10_000


class Simulation:
    """A system that finishes a batch a second, whatever is offered to it."""

    def __init__(self, database: Database, make_settings: MakeSettings, real_now: float) -> None:
        self.second = 0
        self._database = database
        self._make_settings = make_settings
        self._real_now = real_now

    async def upload(self, batches: int) -> str:
        """Upload a CSV of so many batches, of an image each; return the request id."""
        turn = FIRST_TURN + self.second // TURN_SECONDS
        # A turn is the server's time over TURN_SECONDS, rounded down: these stretch the real time to the middle of it.
        settings = self._make_settings(IngestSettings, batch_images=1, turn_seconds=self._real_now / (turn + 0.5))
        return await accepted(self._database, settings, [f"http://127.0.0.1:9/{n}" for n in range(batches)])

    async def pass_a_second(self) -> str:
        """Claim the batch whose turn it is, and complete it; return whose it was."""
        self.second += 1
        claimed = await queries.claim_batch(self._database, worker="w", seconds=60, from_turn=0)
        assert claimed is not None, "nothing was left to do"
        await queries.complete_batch(self._database, claimed, claimed.rows, Progress(1, 0, 1, 1))
        return claimed.request_id

    async def done_of(self, request_id: str) -> int:
        """Return how many batches of a request are done."""
        done = {"request_id": request_id, "status": BatchStatus.COMPLETED}
        return await self._database.batches.count_documents(done)


async def _simulation(database: Database, make_settings: MakeSettings) -> Simulation:
    return Simulation(database, make_settings, (await server_time(database)).timestamp())


async def test_a_giant_advances_while_small_uploads_come_faster_than_they_are_done(
    database: Database, make_settings: MakeSettings
) -> None:
    """Two small uploads a second, of which one can be done: the giant has its part of every turn all the same."""
    simulation = await _simulation(database, make_settings)
    giant = await simulation.upload(100)
    for _ in range(66):
        for _ in range(2):
            await simulation.upload(1)
        await simulation.pass_a_second()
    # A turn takes in ten small uploads in its five seconds, and one batch of the giant: eleven seconds' work.
    assert 66 // 11 - 1 <= await simulation.done_of(giant) <= 66 // 11 + 1


async def test_small_uploads_are_done_at_once_beside_a_giant(database: Database, make_settings: MakeSettings) -> None:
    """A small upload every three seconds: each is one of the next two batches, and all others are the giant's."""
    simulation = await _simulation(database, make_settings)
    giant = await simulation.upload(100)
    for _ in range(10):
        small = await simulation.upload(1)
        done = [await simulation.pass_a_second() for _ in range(3)]
        assert small in done[:2]
    assert await simulation.done_of(giant) == 20
