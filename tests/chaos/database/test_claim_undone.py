"""A claim is acknowledged by the primary alone: what if that dies with it."""

from __future__ import annotations

import pytest

from deploy.local.mongod import ReplicaSet
from imagepress.mongo import Database
from services.ingest.settings import IngestSettings
from services.watcher import queries
from services.watcher.queries import LeaseLost, Progress
from tests.conftest import MakeSettings
from tests.support.elections import Elections
from tests.support.failpoints import lagging
from tests.support.uploads import accepted


async def test_a_claim_that_a_failover_undoes_is_a_lease_that_was_lost(
    database: Database, make_settings: MakeSettings, replica_set: ReplicaSet, elections: Elections
) -> None:
    """It waits for no majority; at the next primary its holder changes nothing, and the batch is another's to claim."""
    await accepted(database, make_settings(IngestSettings), ["http://127.0.0.1:1/0"])
    with lagging(replica_set):
        undone = await queries.claim_batch(database, worker="first", seconds=60, from_turn=0)
        await elections.kill_primary()
    await elections.mend()
    assert undone is not None
    with pytest.raises(LeaseLost):
        await queries.complete_batch(database, undone, undone.rows, Progress(1, 0, 1, 1))
    assert await queries.keep_batches(database, undone.held, seconds=60) == set()
    claimed = await queries.claim_batch(database, worker="second", seconds=60, from_turn=0)
    assert claimed is not None
    assert (claimed.id, claimed.claims) == (undone.id, 1)
