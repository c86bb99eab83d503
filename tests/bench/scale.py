"""What a thousand images cost MongoDB, beside ten and a hundred thousand; and 200 claimers at once (issue 7).

Operations are MongoDB's own count of the commands that it carried out, all of them: staging, claims, heartbeats,
sweeps, change streams, outcomes. That count hardly depends on what else the machine does; seconds do. So the time of a
claim is told in parts: what the watcher sees, what of it passes inside MongoDB, and how much MongoDB reads for it.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from tests.bench import claimers
from tests.bench.nginx import Nginx, serving
from tests.bench.photographs import SMALL, Photographs, photographs
from tests.bench.pipeline import LOOK_SECONDS, PROCESSES, Pipeline, pipeline
from tests.bench.system import Bench, children_of, peak_mb
from tests.support import claim_costs
from tests.support.calls import client
from tests.support.claim_costs import Costs
from tests.support.processes import Service, eventually

SIZES: Final = {"1k": 1_000, "10k": 10_000, "100k": 100_000}
PROCESS_NUMBERS: Final = (1, 2, 4)
IMAGES_FOR_PROCESSES: Final = SIZES["10k"]
PATIENCE_SECONDS: Final = 1200.0

COUNTED: Final = ("insert", "update", "delete", "find", "getMore", "aggregate", "findAndModify", "count")
"""The commands that read or write documents: not the drivers' hellos and pings, which come by the second."""

Figures = dict[str, float]


@dataclass(frozen=True)
class Run:
    """One upload: what MongoDB did for it, what claims took on average, and the largest process's peak."""

    operations: float
    claim_ms: float
    """As the watcher sees it: its processes are busy with images."""
    inside: Costs
    """What of it passes inside MongoDB."""
    skipped: float
    """Deleted index entries that all reads together waded through, for a claim."""
    peak_mb: float
    per_s: float


async def measure(bench: Bench) -> Figures:
    """Measure sizes with two worker processes, then numbers of processes at one size, then bare claims."""
    print(f"load before: {os.getloadavg()[0]:.1f}", flush=True)
    root = bench.folder.parent / "photographs"
    photos = photographs(SMALL, root)
    figures: Figures = {}
    async with serving(root, bench.folder / "nginx") as nginx:
        for name, images in SIZES.items():
            run = await _run(bench, nginx, photos, images, PROCESSES)
            figures |= {f"db_ops_per_image_{name}": run.operations / images}
            figures |= {f"claim_ms_{name}": run.claim_ms, f"scale_peak_mb_{name}": run.peak_mb}
            figures |= {f"claim_inside_ms_{name}": run.inside.server_ms, f"claim_keys_{name}": run.inside.keys}
            print(name, run, flush=True)
        for number in PROCESS_NUMBERS:
            run = await _run(bench, nginx, photos, IMAGES_FOR_PROCESSES, number)
            figures |= {f"images_per_s_{number}_processes": run.per_s, f"claim_ms_{number}_processes": run.claim_ms}
            figures |= {f"db_ops_per_image_{number}_processes": run.operations / IMAGES_FOR_PROCESSES}
            print(number, run, flush=True)
    figures["db_ops_per_image"] = figures["db_ops_per_image_100k"]
    return figures | await claimers.measure(bench)


async def _run(bench: Bench, nginx: Nginx, photos: Photographs, images: int, processes: int) -> Run:
    """Send one upload through a system of its own, warm, and look before and after."""
    async with pipeline(bench, nginx, photos, WATCHER_PROCESSES=str(processes)) as running:
        claims, waded = await _claims(running.watcher), await claim_costs.skipped(running.database)
        await claim_costs.begin(running.database)
        commands = await _commands(running)
        request_id = await running.upload(nginx.urls(photos, images, part=f"scale{images}-{processes}"))
        request = await _ended(running, request_id)
        operations = await _commands(running) - commands
        later, waded = await _claims(running.watcher), await claim_costs.skipped(running.database) - waded
        assert request["images"] == {"total": images, "succeeded": images, "failed": 0}, request["images"]
        pids = [running.watcher.process.pid, *children_of(running.watcher.process.pid)]
        return Run(
            operations=operations,
            claim_ms=(later[0] - claims[0]) / (later[1] - claims[1]) * 1000,
            inside=await claim_costs.end(running.database),
            skipped=waded / (later[1] - claims[1]),
            peak_mb=max(peak_mb(pid) for pid in pids),
            per_s=images / (request["ended_at"] - request["started_at"]).total_seconds(),
        )


async def _ended(running: Pipeline, request_id: str) -> dict[str, Any]:
    """Wait for the end by way of the watcher's own metrics: asking MongoDB would be counted."""

    async def has_ended() -> bool:
        await asyncio.sleep(LOOK_SECONDS)
        return await _sample(running.watcher, "imagepress_requests_ended_total") > before

    before = await _sample(running.watcher, "imagepress_requests_ended_total")
    await eventually(has_ended, PATIENCE_SECONDS)
    request = await running.database.requests.find_one({"_id": request_id})
    assert request is not None
    return request


async def _commands(running: Pipeline) -> float:
    status = await running.database.client.admin.command("serverStatus")
    commands = status["metrics"]["commands"]
    return float(sum(commands[name]["total"] for name in COUNTED))


async def _claims(watcher: Service) -> tuple[float, float]:
    """Return the seconds that all claims took so far, and how many there were."""
    seconds = await _sample(watcher, "imagepress_claim_seconds_sum")
    return seconds, await _sample(watcher, "imagepress_claim_seconds_count")


async def _sample(service: Service, name: str) -> float:
    async with client(service.url) as calling:
        text = (await calling.get("/metrics")).text
    families = text_string_to_metric_families(text)
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)
