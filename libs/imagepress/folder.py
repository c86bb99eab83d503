"""A local folder as image store: whole files or none, written by the thread that made them.

A file is written beside the images, under `.staging`, and renamed into place: a reader never sees half of one, and what
a killed writer leaves lies where it is found without looking through all images.

What was put is not on the disk yet. `sync` sees to that for everything put before, with one syncfs(2): for 64 images of
6 KB that took 3 to 6 ms, where fsync for each of them and its folder took 40 to 190 ms.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import threading
import time
import uuid
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Final

STAGING: Final = ".staging"

STRAY_AFTER_SECONDS: Final = 3600.0
"""A file is written in a moment: one that lies in `.staging` for an hour has lost its writer."""

_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Folder:
    """The folder `root`, which is made. Raises plain `OSError`s."""

    def __init__(self, root: Path) -> None:
        """Keep images under `root`."""
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self._staging = root / STAGING
        self._staged_as = f"{self._staging}/{uuid.uuid4().hex}-"
        # Kept open, since syncfs tells of a failed write to those who had the folder open when it failed (Linux 5.8).
        self._opened = _Opened(root)
        self._syncing = threading.Lock()
        self.losses = 0
        """How often a sync has failed. The system tells a failure once, but it concerns all who have put something."""

    def put(self, path: str, data: bytes) -> None:
        """Store `data` at `path`, replacing what is there. `root` itself is never made anew: it may be a lost mount."""
        # A thread writes one file at a time: under a name of its own, which a file system finds faster than a new one.
        staged, target = f"{self._staged_as}{threading.get_ident()}", f"{self.root}/{path}"
        try:
            _write(staged, data)
            if _LIBC is None:
                _fsync(staged)
            _move(staged, target)
            if _LIBC is None:
                _fsync(str(Path(target).parent))
        except OSError:
            with suppress(OSError):  # the first error tells more
                Path(staged).unlink(missing_ok=True)
            raise

    def sync(self) -> None:
        """Return when everything put so far would outlive a power cut. Raises `OSError` where some of it might not.

        Who is not told, since somebody else's sync has just failed, sees it in `losses`: it counts before this returns.
        """
        with self._syncing:
            try:
                self._sync()
            except OSError:
                self.losses += 1
                raise

    def _sync(self) -> None:
        if _LIBC is None:
            return  # without syncfs(2) each file was synced when it was put
        if not self._opened.is_still(self.root):  # another disk was mounted, say: who knows where the images went
            self._opened = _Opened(self.root)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        if _LIBC.syncfs(self._opened.descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

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


class _Opened:
    """A folder held open, whatever its path leads to later."""

    def __init__(self, folder: Path) -> None:
        self.descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)

    def is_still(self, folder: Path) -> bool:
        return os.path.samestat(os.fstat(self.descriptor), folder.stat())


# Paths are strings and files descriptors where every image comes by: with `pathlib` it takes 30 µs more to store.


def _fsync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(staged: str, data: bytes) -> None:
    try:
        descriptor = _created(staged)
    except FileNotFoundError:
        Path(staged).parent.mkdir(exist_ok=True)
        descriptor = _created(staged)
    try:
        written = os.write(descriptor, data)
        while written < len(data):  # a disk that fills up, or 2 GB at once
            written += os.write(descriptor, memoryview(data)[written:])
    finally:
        os.close(descriptor)


def _created(staged: str) -> int:
    return os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)


def _move(staged: str, target: str) -> None:
    try:
        os.replace(staged, target)  # noqa: PTH105 - see above
    except FileNotFoundError:  # the first image of its request
        Path(target).parent.mkdir(exist_ok=True)
        os.replace(staged, target)  # noqa: PTH105 - see above
