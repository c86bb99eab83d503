"""Rule 7: one poisonous image hurts only itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import origin as origins
from tests.support.calls import until_ended, upload
from tests.support.origin import serve_origin
from tests.support.pictures import photo
from tests.support.processes import FAST, ROOT, services
from tests.support.uploads import csv_of

PLANTED = {"PYTHONPATH": str(ROOT / "tests" / "support" / "poison"), "CODEC_SECONDS": "1", "FETCH_SECONDS": "3"}


@pytest.mark.parametrize(
    ("environment", "fault"),
    [("folder", "segfault"), ("s3", "segfault"), ("folder", "never return")],  # once in each store, to save time
    indirect=["environment"],
)
async def test_an_image_that_kills_its_process_fails_alone(
    environment: dict[str, str], tmp_path: Path, fault: str
) -> None:
    """The decoder dies of one image, or never comes back: that image fails as `poison`, all others succeed."""
    answers = {f"/{n}": origins.body(photo(n)) for n in range(12)}
    # What is to be turned goes through Pillow's decoder, where the fault is planted.
    answers["/5"] = origins.body(photo(5, comment=fault, orientation=6))
    async with serve_origin(answers) as origin, services({**environment, **FAST, **PLANTED}, tmp_path) as system:
        await system["ingest"].start()
        await system["watcher"].start()
        urls = [origin.url(f"/{n}") for n in range(12)]
        request_id = await upload(system["ingest"], csv_of(urls))
        status = await until_ended(system["ingest"], request_id, seconds=90)
        assert status["images"] == {"total": 12, "succeeded": 11, "failed": 1}, system["watcher"].said()
        failed = {error["url"]: error["code"] for row in status["details"] for error in row["errors"]}
        assert failed == {origin.url("/5"): "poison"}
        # Two leases ran out, then the quarantine's own process was the third to die of it, and the last.
        assert origin.count("/5") == 3
        assert (tmp_path / "watcher.log").read_text().count("a worker died and is replaced") == 2
        await system["watcher"].until_ready()
