"""A process that compresses hostile files, and says how each ended and what memory that took.

python -m tests.support.hostile_run SEED NUMBER MAX_PIXELS [FILE ...]

The last line is one JSON object. Before each file its number and what was done to it are written, so that a crash or a
hang names its file; whatever else than an ImageError is raised ends the process with a traceback.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from itertools import chain, islice
from pathlib import Path

from imagepress.errors import ImageError, ImageErrorCode
from services.watcher.compress import Options, compress, tune_allocator
from tests.support.hostile import healthy, mutations

OPTIONS = (Options(), Options(format="webp"), Options(max_width=17))


def outcome(data: bytes, options: Options, *, max_pixels: int) -> str:
    """Compress what may be anything; return its error code, or `compressed`."""
    try:
        compress(data, options, max_pixels=max_pixels)
    except ImageError as error:
        return ImageErrorCode(error.code).value
    return "compressed"


def memory_bytes(kind: str) -> int:
    """Return what memory this process has (`VmRSS`) or has had at most (`VmHWM`; not its parent, as in getrusage)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(kind)).split()[1])


def main() -> None:
    """Warm up on healthy files, then go through the given and the damaged files."""
    seed, number, max_pixels = (int(word) for word in sys.argv[1:4])
    given = [(Path(name).name, Path(name).read_bytes()) for name in sys.argv[4:]]
    tune_allocator(max_pixels=max_pixels)
    for name, data in healthy().items():
        ended = outcome(data, OPTIONS[0], max_pixels=max_pixels)
        assert ended == "compressed", f"{name}: {ended}"
    files = chain(given, islice(mutations(seed), number))
    base, slowest, outcomes = memory_bytes("VmHWM"), 0.0, Counter[str]()
    for at, (what, data) in enumerate(files):
        print(at, what, flush=True)
        began = time.perf_counter()
        outcomes[outcome(data, OPTIONS[at % len(OPTIONS)], max_pixels=max_pixels)] += 1
        slowest = max(slowest, time.perf_counter() - began)
    print(json.dumps({"outcomes": outcomes, "slowest": slowest, "grown": memory_bytes("VmHWM") - base}))


if __name__ == "__main__":
    main()
