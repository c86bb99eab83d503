"""Memory is flat: a picture takes what its header promised, and so never more than 12 bytes for each pixel allowed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from services.watcher.compress.model import OutputFormat

SIDE = 1400
# What does not grow with the picture: tables of decoders, the heap's own leftovers.
CONSTANT_BYTES = 3_500_000


@pytest.mark.timeout(600)  # a minute on an idle machine
def test_every_pair_of_formats_takes_no_more_memory_than_promised(tmp_path: Path) -> None:
    """From each format and kind of pixels to each output: the peak, in a process of its own, is within the promise."""
    folder = tmp_path / "pictures"
    command = [sys.executable, "-m", "tests.support.weighing", str(folder), str(SIDE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    weighed = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(weighed) == len(list(folder.iterdir())) * len(get_args(OutputFormat))
    assert not [one for one in weighed if "refused" in one]
    assert not [one for one in weighed if one["taken"] > one["promised"] + CONSTANT_BYTES]
