"""Rules 2, 3 and 4 under interleavings that hypothesis draws: many processes on one request, each may stall or die.

Whatever the order, one claim completes a batch, a run ends once, its totals equal a recount, and in the end every image
has an outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from imagepress.mongo import connected
from services.ingest.settings import IngestSettings
from services.watcher.settings import WatcherSettings
from tests.chaos.claiming import Claiming, World
from tests.conftest import MakeSettings
from tests.support.stalling import NEVER

EXAMPLES: Final = 40


@pytest.fixture
def claiming(make_settings: MakeSettings, tmp_path: Path) -> Iterator[type[Claiming]]:
    """The machine, bound to this test's database."""
    ingest = make_settings(IngestSettings, batch_images=4)
    watcher = make_settings(WatcherSettings, fetch_concurrency=4, storage_url=f"file://{tmp_path}")
    with asyncio.Runner() as runner:
        opening = connected(ingest)
        world = World(runner, runner.run(opening.__aenter__()), ingest, watcher)
        try:
            yield type("Claims", (Claiming,), {"world": world})
        finally:
            runner.run(opening.__aexit__(None, None, None))


def test_whatever_the_order_nothing_is_lost_and_nothing_is_counted_twice(claiming: type[Claiming]) -> None:
    """Claim, work, heartbeat, conclude, give back, cancel, retry, end, sweep, stall and die in any order."""
    run_state_machine_as_test(
        claiming,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


def test_an_ender_that_stalls_while_the_client_retries_ends_nothing(claiming: type[Claiming]) -> None:
    """It has recounted run 1 and writes when run 2 is under way: its write matches nothing."""
    machine = claiming()
    for stall in (NEVER, 2):  # the second one completes its batch, adds it to the progress, and stalls before the end
        machine.claim()
        machine.work(0, [False] * 4)
        machine.conclude(0, stall)
    machine.end(0, NEVER)
    assert machine.status() == (1, "failed")
    machine.retry(NEVER)
    machine.go_on(0)
    assert machine.status() == (2, "pending")
    machine.all_is_well()
    machine.teardown()


def test_a_canceller_that_stalls_while_the_client_retries_cancels_nothing(claiming: type[Claiming]) -> None:
    """It has asked to cancel run 1, which the sweep does; when it comes to the batches, they are those of run 2."""
    machine = claiming()
    machine.cancel(1)
    machine.sweep(NEVER)
    assert machine.status() == (1, "cancelled")
    machine.retry(NEVER)
    machine.go_on(0)
    assert machine.status() == (2, "pending")
    machine.all_is_well()
    machine.teardown()
    assert machine.status() == (2, "failed")
