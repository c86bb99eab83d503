"""A small disk over a folder: a tmpfs in a mount namespace of its own, for which nobody needs privileges.

Only who enters the namespace finds the disk in the folder's place (user_namespaces(7), mount_namespaces(7)).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_HOLD: Final = 'mount -t tmpfs -o "size=$2" small "$1" && echo mounted && exec cat'
"""The namespace, and the disk with it, lives as long as a process in it: one that waits for the end of its input."""


class NotMounted(Exception):
    """This machine allows no mount in a namespace of one's own."""


@dataclass(frozen=True)
class SmallDisk:
    """The disk over `folder`, in the namespace that the process `holder` keeps."""

    folder: Path
    holder: int

    @property
    def enter(self) -> tuple[str, ...]:
        """The command that runs another one where the disk is found, in the folder around it."""
        inside = ("nsenter", f"--target={self.holder}", "--user", "--preserve-credentials", "--mount")
        return (*inside, "env", f"--chdir={self.folder.parent}")

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no block of the disk free; at the end, give back what was taken."""
        filler = Path(f"/proc/{self.holder}/root{self.folder}/filler")
        with filler.open("wb") as taking:
            disk = os.fstatvfs(taking.fileno())
            os.posix_fallocate(taking.fileno(), 0, disk.f_bavail * disk.f_frsize)
        try:
            yield
        finally:
            filler.unlink()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[SmallDisk]:
    """Mount a disk of `size` (tmpfs(5): "16m") over `folder`, which is made. Raises `NotMounted`."""
    folder.mkdir()
    own = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _HOLD, "sh", str(folder), size)
    pipe = subprocess.PIPE
    with subprocess.Popen(own, stdin=pipe, stdout=pipe, stderr=pipe) as holder:  # its end closes the input, and waits
        assert holder.stdout is not None
        assert holder.stderr is not None
        if not holder.stdout.readline():
            raise NotMounted(holder.stderr.read().decode().strip())
        yield SmallDisk(folder, holder.pid)
