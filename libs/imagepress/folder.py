"""A local folder as image store: whole files or none, written by the thread that made them.

A file is written beside the images, under `.staging`, and renamed into place: a reader never sees half of one, and what
a killed writer leaves lies where it is found without looking through all images.
"""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final

STAGING: Final = ".staging"

STRAY_AFTER_SECONDS: Final = 3600.0
"""A file is written in a moment: one that lies in `.staging` for an hour has lost its writer."""


class Folder:
    """The folder `root`, which exists. Raises plain `OSError`s."""

    def __init__(self, root: Path) -> None:
        """Keep images under `root`."""
        self.root = root
        self._staging = root / STAGING

    def put(self, path: str, data: bytes) -> None:
        """Store `data` at `path`, replacing what is there. `root` itself is never made anew: it may be a lost mount."""
        staged = self._staging / uuid.uuid4().hex
        try:
            _write(staged, data)
            _move(staged, self.root / path)
        except OSError:
            with suppress(OSError):  # the first error tells more
                staged.unlink(missing_ok=True)
            raise

    def sweep(self, *, older_than_seconds: float = STRAY_AFTER_SECONDS) -> int:
        """Delete what killed writers left; return how many files."""
        deleted = 0
        before = time.time() - older_than_seconds
        for stray in self._staging.glob("*"):
            with suppress(FileNotFoundError):  # its writer lives, or another sweep was quicker
                if stray.stat().st_mtime < before:
                    stray.unlink()
                    deleted += 1
        return deleted


def _write(staged: Path, data: bytes) -> None:
    try:
        staged.write_bytes(data)
    except FileNotFoundError:
        staged.parent.mkdir(exist_ok=True)
        staged.write_bytes(data)


def _move(staged: Path, target: Path) -> None:
    try:
        staged.replace(target)
    except FileNotFoundError:  # the first image of its request
        target.parent.mkdir(exist_ok=True)
        staged.replace(target)
