"""How many photographs a second the whole pipeline compresses, beside img2dataset and beside bare Pillow (issue 4).

All sides work on the same files, one after the other on the otherwise idle machine, in an order that turns with every
round; what stands is the median of the rounds. The origin and MongoDB share the machine with the downloading sides.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench import img2dataset, loops, report
from tests.bench.nginx import Nginx, serving
from tests.bench.photographs import ONE_MEGAPIXEL, SMALL, Photographs, photographs
from tests.bench.pipeline import pipeline
from tests.bench.system import Bench, p50

ROUNDS: Final = 5
IMAGES: Final = {ONE_MEGAPIXEL.name: 4000, SMALL.name: 30_000}
"""Images of a round: about eight seconds of the pipeline's on two cores."""

RATIOS: Final = {
    "vs_img2dataset_1mp": ("images_per_s_1mp", "img2dataset_per_s_1mp"),
    "vs_img2dataset_small": ("images_per_s_small", "img2dataset_per_s_small"),
    "vs_tuned_loop_1mp": ("images_per_s_1mp", "tuned_loop_per_s_1mp"),
    "two_vs_one_process": ("images_per_s_1mp", "one_process_per_s_1mp"),
}
"""Figures taken from two sides of each round: from one round to the next the machine itself gets faster or slower."""

Figures = dict[str, float]


@dataclass(frozen=True)
class Stage:
    """Where a round takes place: sets, origin and number of the round (every round has URLs of its own)."""

    bench: Bench
    nginx: Nginx
    sets: dict[str, Photographs]
    number: int

    def urls(self, name: str) -> list[str]:
        """Return the URLs of this round for a set."""
        return self.nginx.urls(self.sets[name], IMAGES[name], part=f"round{self.number}")


Side = Callable[[Stage], Awaitable[Figures]]


async def measure(bench: Bench) -> Figures:
    """Run all rounds; write the report."""
    load = os.getloadavg()[0]  # work of others on the machine, before there is any of ours
    root = bench.folder.parent / "photographs"
    sets = {kind.name: photographs(kind, root) for kind in (ONE_MEGAPIXEL, SMALL)}
    rounds: dict[str, list[float]] = {}
    async with serving(root, bench.folder / "nginx") as nginx:
        for number in range(ROUNDS):
            first = number * len(SIDES) // ROUNDS
            for side in (*SIDES[first:], *SIDES[:first]):
                for figure, value in (await side(Stage(bench, nginx, sets, number))).items():
                    rounds.setdefault(figure, []).append(value)
                    print(f"round {number + 1}: {figure} {value:.2f}", flush=True)
    for ratio, (ours, other) in RATIOS.items():
        rounds[ratio] = [one / two for one, two in zip(rounds[ours], rounds[other], strict=True)]
    figures = {figure: p50(values) for figure, values in rounds.items()}
    report.write(Path(__file__).with_name("report"), figures, rounds, list(sets.values()), load=load)
    return figures


def _deployed(name: str) -> Side:
    async def side(stage: Stage) -> Figures:
        photos = stage.sets[name]
        async with pipeline(stage.bench, stage.nginx, photos) as running:
            outcome = await running.run(stage.urls(name), photos.kind.size)
        return {f"images_per_s_{name}": outcome.per_s, f"watcher_cpu_ms_per_image_{name}": outcome.cpu_ms}

    return side


async def _one_process(stage: Stage) -> Figures:
    photos = stage.sets[ONE_MEGAPIXEL.name]
    async with pipeline(stage.bench, stage.nginx, photos, WATCHER_PROCESSES="1") as running:
        outcome = await running.run(stage.urls(ONE_MEGAPIXEL.name)[::2], photos.kind.size)
    return {"one_process_per_s_1mp": outcome.per_s}


def _img2dataset(name: str) -> Side:
    async def side(stage: Stage) -> Figures:
        folder = stage.bench.folder / f"img2dataset-{name}-{stage.number}"
        per_s = await asyncio.to_thread(img2dataset.run, stage.urls(name), stage.sets[name].kind.size, folder)
        return {f"img2dataset_per_s_{name}": per_s}

    return side


async def _naive(stage: Stage) -> Figures:
    loop = await asyncio.to_thread(loops.run, stage.sets[ONE_MEGAPIXEL.name].files, tuned=False)
    return {"naive_loop_per_s_1mp": loop.per_s}


async def _tuned(stage: Stage) -> Figures:
    loop = await asyncio.to_thread(loops.run, stage.sets[ONE_MEGAPIXEL.name].files, tuned=True)
    return {"tuned_loop_per_s_1mp": loop.per_s, "tuned_loop_cpu_ms_1mp": loop.cpu_ms}


SIDES: Final[tuple[Side, ...]] = (
    _deployed(ONE_MEGAPIXEL.name),
    _img2dataset(ONE_MEGAPIXEL.name),
    _tuned,
    _one_process,
    _naive,
    _deployed(SMALL.name),
    _img2dataset(SMALL.name),
)
