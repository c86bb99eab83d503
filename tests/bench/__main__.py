"""`make bench`: measures the system as deployed, and prints one JSON object as its last line.

python -m tests.bench [NAME …]     all measurements, or those named

`throughput`, `memory` and `fairness` took eight and a half minutes together on two cores that others used, too. Every
wait for a service has a deadline.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from deploy.local.mongod import ReplicaSet
from tests.bench import answers, fairness, large_upload, memory, pickup, scale, throughput, webhooks
from tests.bench.system import Bench

Measure = Callable[[Bench], Awaitable[dict[str, float]]]

MEASUREMENTS: dict[str, Measure] = {
    "pickup": pickup.measure,
    "large_upload": large_upload.measure,
    "answers": answers.measure,
    "throughput": throughput.measure,
    "memory": memory.measure,
    "fairness": fairness.measure,
    "webhooks": webhooks.measure,
    "scale": scale.measure,
}


async def run(names: list[str]) -> dict[str, float]:
    """Run the measurements one after the other, each on a fresh database of one replica set."""
    figures: dict[str, float] = {}
    with (
        tempfile.TemporaryDirectory(prefix="imagepress-bench-") as folder,
        ReplicaSet(Path(folder) / "mongo", cache_mb=1024) as replica_set,
    ):
        for name in names:
            print(f"--- {name}", flush=True)
            bench = Bench(Path(folder) / name, replica_set.uri, name)
            for figure, value in (await MEASUREMENTS[name](bench)).items():
                figures[figure] = round(value, 3)
                print(f"{figure}: {figures[figure]}", flush=True)
    return figures


def main() -> None:
    """Measure what is asked for."""
    names = sys.argv[1:] or list(MEASUREMENTS)
    if unknown := [name for name in names if name not in MEASUREMENTS]:
        sys.exit(f"no such measurement: {', '.join(unknown)}; there are {', '.join(MEASUREMENTS)}")
    print(json.dumps(asyncio.run(run(names))))


if __name__ == "__main__":
    main()
