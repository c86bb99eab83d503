"""What a claim and the look for the end cost does not grow with what was claimed before, as MongoDB itself counts."""

from __future__ import annotations

from typing import Final

import pytest

from imagepress import transitions
from imagepress.mongo import Database
from services.ingest.settings import IngestSettings
from services.watcher import queries
from services.watcher.queries import Claimed, Progress
from tests.conftest import MakeSettings
from tests.support import claim_costs
from tests.support.uploads import accepted

BATCHES: Final = 300
DONE: Final = Progress(succeeded=1, failed=0, bytes_in=1, bytes_out=1)


@pytest.fixture
async def request_id(database: Database, make_settings: MakeSettings) -> str:
    """A request of many batches, all waiting."""
    settings = make_settings(IngestSettings, batch_images=1)
    return await accepted(database, settings, [f"http://127.0.0.1:1/{n}" for n in range(BATCHES)])


async def _claim(database: Database, turn: int) -> Claimed:
    claimed = await queries.claim_batch(database, worker="w", seconds=60, from_turn=turn)
    assert claimed is not None
    return claimed


async def test_many_claims_do_not_make_the_next_one_dearer(database: Database, request_id: str) -> None:
    """Each claim that starts at the last turn reads one key, and wades through nothing that was claimed before."""
    before, turn = await claim_costs.skipped(database), 0
    await claim_costs.begin(database)
    for _ in range(BATCHES):
        claimed = await _claim(database, turn)
        assert claimed.request_id == request_id
        turn = claimed.turn
        await queries.complete_batch(database, claimed, claimed.rows, DONE)
    costs = await claim_costs.end(database)
    assert costs.keys == 1
    assert await claim_costs.skipped(database) - before < 3 * BATCHES


async def test_a_look_for_the_end_costs_the_same_however_much_is_done(database: Database, request_id: str) -> None:
    """While the last batch waits, whoever completes another looks at that one, and not through all that were open."""
    turn = 0
    for _ in range(BATCHES - 1):
        claimed = await _claim(database, turn)
        turn = claimed.turn
        await queries.complete_batch(database, claimed, claimed.rows, DONE)
    before = await claim_costs.skipped(database)
    for _ in range(10):
        assert await transitions.end_if_done(database, request_id, 1) is None
    assert await claim_costs.skipped(database) - before < BATCHES
    last = await _claim(database, turn)
    await queries.complete_batch(database, last, last.rows, DONE)
    ended = await transitions.end_if_done(database, request_id, 1)
    assert ended is not None
    assert ended.succeeded == BATCHES
