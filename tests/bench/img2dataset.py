"""The same URLs through img2dataset, the best known downloader of images, set up to do the same and no more.

Two processes, no resizing, every image encoded anew as JPEG of quality 50. Reading EXIF, which it would only do to
write it down, is off; hashing is too, although the pipeline hashes. Its time is its own account: from the start of its
first shard to the end of its last, so neither its imports nor the start of its processes count.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image

PROCESSES: Final = 2
SHARDS: Final = 4
"""Two for each process, so that neither waits long for the other at the end."""
THREADS: Final = 32
"""Downloads at once in a process."""
SAMPLE: Final = 25


def run(urls: Sequence[str], size: tuple[int, int], folder: Path) -> float:
    """Return the images per second of one run, which leaves its work in a new `folder`.

    Raises `AssertionError` unless every image came out, and of `size`.
    """
    folder.mkdir(parents=True)
    (folder / "urls.txt").write_text("\n".join(urls) + "\n")
    output = folder / "output"
    with (folder / "img2dataset.log").open("wb") as log:
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("img2dataset")),
                *_arguments(folder / "urls.txt", output, -(-len(urls) // SHARDS)),
            ],
            env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},  # it would ask the Internet for news
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )
    assert done.returncode == 0, (folder / "img2dataset.log").read_text()[-2000:]
    shards = [json.loads(path.read_text()) for path in output.glob("*_stats.json")]
    _check(output, shards, len(urls), size)
    seconds = max(shard["end_time"] for shard in shards) - min(shard["start_time"] for shard in shards)
    return len(urls) / float(seconds)


def _arguments(urls: Path, output: Path, shard: int) -> list[str]:
    options = {
        "url_list": urls,
        "input_format": "txt",
        "output_folder": output,
        "output_format": "files",
        "processes_count": PROCESSES,
        "thread_count": THREADS,
        "number_sample_per_shard": shard,
        "resize_mode": "no",
        "encode_format": "jpg",
        "encode_quality": 50,
        "skip_reencode": False,
        "disable_all_reencoding": False,
        "extract_exif": False,
        "compute_hash": None,
        "enable_wandb": False,
    }
    return [f"--{name}={value}" for name, value in options.items()]


def _check(output: Path, shards: Sequence[dict[str, int]], number: int, size: tuple[int, int]) -> None:
    assert sum(shard["successes"] for shard in shards) == number
    pictures = sorted(output.glob("*/*.jpg"))
    assert len(pictures) == number
    for path in pictures[:: max(1, number // SAMPLE)]:
        with Image.open(path) as picture:
            picture.load()
            assert picture.size == size
