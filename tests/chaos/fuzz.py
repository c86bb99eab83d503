"""Fuzzing: the CSV reader and the image engine are given damaged files for a while, and whatever is wrong is told.

python -m tests.chaos.fuzz SEED SECONDS

Prints its seed, and before each file its number and what was done to it: a file can be made again by these two, and a
crash or a hang of a decoder names its file too. The exit status is 1 if anything was found.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from services.watcher.compress import tune_allocator
from tests.support.csv_sound import VALID, assert_sound
from tests.support.hostile import mutations
from tests.support.hostile_run import OPTIONS, outcome

MAX_PIXELS: Final = 4_000_000
SLOW_SECONDS: Final = 20.0
"""A file of this size that takes longer is a finding: on an idle machine the slowest takes a tenth of a second."""

_HANG_SECONDS: Final = 60.0
_TOKENS: Final = (b'"', b'""', b",", b";", b"\t", b"\r", b"\n", b"\r\n", b"\0", b"://", b"\xef\xbb\xbf", b"\xff\xfe")
_ENCODINGS: Final = (None, "utf-16-le", "cp1252", "shift_jis", "hz", "cp037")

Case = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Target:
    """What is fuzzed: files without end for a seed, and a judge that raises for whatever must not be."""

    name: str
    cases: Callable[[int], Iterator[Case]]
    judge: Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Hunt:
    """How a hunt ended: how many files there were, and what was wrong with the last one, if anything."""

    files: int
    finding: str = ""


def hunt(target: Target, seed: int, seconds: float, tell: Callable[[str], object] = print) -> Hunt:
    """Give `target` its files for `seconds`, or until one is wrong."""
    ends = time.monotonic() + seconds
    number = 0
    for number, (what, data) in enumerate(takewhile(lambda _: time.monotonic() < ends, target.cases(seed)), start=1):
        where = f"{target.name} {number}: {what}"
        tell(where)
        began = time.monotonic()
        try:
            target.judge(data)
        except Exception:  # whatever it is, it is what we look for
            return Hunt(number, f"{where}\n{traceback.format_exc()}")
        if (took := time.monotonic() - began) > SLOW_SECONDS:
            return Hunt(number, f"{where}\ntook {took:.0f} s")
    return Hunt(number)


def tables(seed: int) -> Iterator[Case]:
    """Yield damaged CSV files for ever, the same for the same `seed`."""
    luck = random.Random(f"{seed} tables")
    while True:
        data, done = VALID, []
        for _ in range(luck.choice((1, 2, 5, 30))):
            at, end = sorted(luck.randrange(len(data) + 1) for _ in range(2))
            match luck.randrange(4):
                case 0:
                    data = data[:at] + luck.choice(_TOKENS) + data[at:]
                case 1:
                    data = data[:at] + data[min(end, at + 4) :]
                case 2:
                    data = data[:end] + data[at : at + 200] * luck.choice((1, 3, 40)) + data[end:]
                case _:
                    data = data[:at] + luck.randbytes(luck.choice((1, 2, 9))) + data[at:]
            done.append(at)
        yield f"damaged at {done}", data


def _judge_table(data: bytes) -> None:
    for encoding in _ENCODINGS:
        assert_sound(data, encoding)


def _judge_picture(data: bytes) -> None:
    for options in OPTIONS:
        outcome(data, options, max_pixels=MAX_PIXELS)


TARGETS: Final = (Target("csv", tables, _judge_table), Target("compress", mutations, _judge_picture))


def run(seed: int, seconds: float) -> bool:
    """Fuzz for `seconds` in a process of its own; print what was found, and return whether that was nothing."""
    command = [sys.executable, "-m", "tests.chaos.fuzz", str(seed), str(seconds)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + _HANG_SECONDS, check=False)
    except subprocess.TimeoutExpired as hung:
        told = (hung.stdout or b"").decode(errors="replace").splitlines()
        print(f"FUZZ hangs, seed {seed}: {told[-1:]}")
        return False
    told = done.stdout.splitlines()
    print(f"fuzzing, seed {seed}: {told[-1] if told else 'nothing was said'}")
    if done.returncode:
        print(f"FUZZ exit status {done.returncode}\n{''.join(told[-2:])}\n{done.stderr[-4000:]}")
    return done.returncode == 0


def main() -> int:
    """Fuzz each target for its share of the time; return the exit status."""
    seed, seconds = int(sys.argv[1]), float(sys.argv[2])
    print(f"seed {seed}", flush=True)
    tune_allocator(max_pixels=MAX_PIXELS)
    hunts = [hunt(target, seed, seconds / len(TARGETS), lambda line: print(line, flush=True)) for target in TARGETS]
    for found in hunts:
        if found.finding:
            print(found.finding, file=sys.stderr)
    print(", ".join(f"{target.name}: {found.files} files" for target, found in zip(TARGETS, hunts, strict=True)))
    return int(any(found.finding for found in hunts))


if __name__ == "__main__":
    sys.exit(main())
