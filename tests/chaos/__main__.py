"""`make chaos`: kill everything at random while work goes on, and check that nothing was lost; then fuzz for a minute.

python -m tests.chaos [--seed N] [--seconds S] [--images N] [--keep FOLDER]

Prints its seed first and one JSON object last; the exit status is 1 if any of its figures tells of a fault.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import fuzz
from tests.chaos.outcome import Order, Outcome
from tests.chaos.run import run


def main() -> int:
    """Run as asked for; return the exit status."""
    asked = _arguments()
    order = Order(asked.seed, asked.seconds, asked.images)
    print(f"seed {order.seed}: {order.images} images, blows for {order.seconds:g} s", flush=True)
    if asked.keep:
        asked.keep.mkdir(parents=True)
        outcome = asyncio.run(run(order, asked.keep.resolve(), Teller(time.monotonic())))
    else:
        with tempfile.TemporaryDirectory(prefix="imagepress-chaos-") as folder:
            outcome = asyncio.run(run(order, Path(folder), Teller(time.monotonic())))
    is_sound = fuzz.run(order.seed, seconds=60)
    _tell(outcome)
    return 0 if outcome.is_clean and is_sound else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="draws everything; random")
    parser.add_argument("--seconds", type=float, default=120, help="how long things are struck; 120")
    parser.add_argument("--images", type=int, default=6000, help="images to be uploaded at least; 6000")
    parser.add_argument("--keep", type=Path, help="a new folder for database, images and logs, which stays")
    return parser.parse_args()


class Teller:
    """Prints lines with the seconds since the start."""

    def __init__(self, began: float) -> None:
        """Count from `began`."""
        self._began = began

    def __call__(self, line: str) -> None:
        """Print a line."""
        print(f"{time.monotonic() - self._began:6.1f} s  {line}", flush=True)


def _tell(outcome: Outcome) -> None:
    """Print what is wrong, what was done, and the figures."""
    for violation in outcome.violations[:100]:
        print(f"WRONG {violation.kind}: {violation.where}: {violation.what}")
    for line in outcome.died:
        print(f"DIED {line}")
    print(f"blows: {dict(outcome.blows.most_common())}")
    print(json.dumps(outcome.summary()))


if __name__ == "__main__":
    sys.exit(main())
