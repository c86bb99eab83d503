"""Half a minute of `make chaos`, and what it takes to finish: enough to notice when something accepted can be lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.outcome import Order
from tests.chaos.run import run

SEED = int(os.environ.get("CHAOS_SEED", "3"))


@pytest.mark.timeout(300)
async def test_nothing_is_lost_while_everything_dies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Kills, failovers and pauses at random: every image has one outcome, every webhook arrives, nothing is left."""
    with capsys.disabled():
        print(f" seed {SEED}", end="", flush=True)
    said: list[str] = []
    outcome = await run(Order(SEED, seconds=30, images=1500), tmp_path, said.append)
    assert outcome.violations == [], "\n".join(said)
    assert outcome.died == []
    assert outcome.images >= 1500
    assert outcome.kills >= 8
    assert outcome.failovers >= 1
    assert outcome.cancelled + outcome.retried >= 1
