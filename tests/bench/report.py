"""The report of a run of `throughput`: a chart and a table, which stand in the README."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from tests.bench.photographs import Photographs

SIDES: Final = {
    "images_per_s": ("imagepress, the whole pipeline", "#0f766e"),
    "img2dataset_per_s": ("img2dataset, two processes", "#94a3b8"),
    "naive_loop_per_s": ("bare Pillow loop, in memory", "#e2e8f0"),
    "tuned_loop_per_s": ("tuned Pillow loop, in memory", "#cbd5e1"),
}
"""Figures without the name of their set, as they are drawn."""


def write(
    folder: Path,
    figures: Mapping[str, float],
    rounds: Mapping[str, Sequence[float]],
    sets: Sequence[Photographs],
    *,
    load: float,
) -> None:
    """Write `throughput.png` and `report.md` into `folder`.

    `rounds` has each round's value of the figures that were measured; `load` is the machine's load average before the
    start: well above 0, the figures are those of a machine that was shared, and only their order of size counts.
    """
    folder.mkdir(exist_ok=True)
    _chart(figures, sets).savefig(folder / "throughput.png", dpi=144)
    (folder / "report.md").write_text("\n".join((*_head(sets, load), *_table(figures, rounds))) + "\n")


def _chart(figures: Mapping[str, float], sets: Sequence[Photographs]) -> Figure:
    chart = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, photos in zip(chart.subplots(1, len(sets)), sets, strict=True):
        shown = [side for side in SIDES if f"{side}_{photos.kind.name}" in figures][::-1]
        values = [figures[f"{side}_{photos.kind.name}"] for side in shown]
        bars = axes.barh([SIDES[side][0] for side in shown], values, color=[SIDES[side][1] for side in shown])
        axes.bar_label(bars, fmt="{:,.0f}", padding=4)
        axes.set_title(_described(photos), fontsize=10)
        axes.set_xlim(0, max(values) * 1.18)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.set_xlabel("images per second")
        axes.spines[["top", "right"]].set_visible(False)
    return chart


def _described(photos: Photographs) -> str:
    width, height = photos.kind.size
    return f"{width} × {height}, {photos.mean_kilobytes:.0f} KB"


def _head(sets: Iterable[Photographs], load: float) -> list[str]:
    parts = ", ".join(f"{name} {version(name)}" for name in ("pillow", "aiohttp", "img2dataset"))
    return [
        "# Throughput",
        "",
        f"Written by `make bench` on {datetime.now(UTC):%d %B %Y}: {os.cpu_count()} cores ({platform.machine()}), "
        f"Python {platform.python_version()}, {parts}. Load average before the start: {load:.1f}.",
        "",
        f"Photographs: {'; '.join(_described(photos) for photos in sets)}. Origin, MongoDB and watchers share the "
        "cores; the loops have them to themselves, with the files in memory. Medians of the rounds, sides alternating.",
        "",
        "![images per second](throughput.png)",
        "",
    ]


def _table(figures: Mapping[str, float], rounds: Mapping[str, Sequence[float]]) -> list[str]:
    rows = [
        f"| `{figure}` | {_number(value)} | {' · '.join(map(_number, rounds.get(figure, ())))} |"
        for figure, value in figures.items()
    ]
    return ["| figure | median | rounds |", "|---|--:|---|", *rows]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
