"""Image stores that can be made to refuse for a while, each in its own way."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from tests.bench.system import children_of
from tests.support.object_store import ObjectStore, serve_s3
from tests.support.processes import Service

LIMIT_BYTES: Final = 65536
"""What a file may have while the disk is full: far above the logs of the tests, and below large pictures."""


@dataclass(frozen=True)
class Store:
    """A store: how a service finds it, and what makes it refuse a running watcher."""

    refusing: Callable[[Service], AbstractContextManager[None]]
    reason: str
    """What clients are told."""
    environment: dict[str, str] = field(default_factory=dict)
    forgets: bool = False
    """Whether it has lost all images afterwards."""


@contextmanager
def folder_that_goes(folder: Path) -> Iterator[Store]:
    """Keep images in `folder`, in whose place there is a file then: every write fails, for root too."""

    @contextmanager
    def refusing(_watcher: Service) -> Iterator[None]:
        images, aside = folder / "images", folder / "aside"
        images.rename(aside)
        images.write_bytes(b"")
        try:
            yield
        finally:
            images.unlink()
            aside.rename(images)

    yield Store(refusing, "not a directory")


@contextmanager
def disk_that_is_full(_folder: Path) -> Iterator[Store]:
    """Let the kernel break off every write of the watcher beyond a limit.

    A disk that is full does the same under another number (ENOSPC), but takes a mount, which not everyone may make.
    """

    @contextmanager
    def refusing(watcher: Service) -> Iterator[None]:
        pids = [watcher.process.pid, *children_of(watcher.process.pid)]
        before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
        for pid, (_, hard) in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (LIMIT_BYTES, hard))
        try:
            yield
        finally:
            for pid, limits in before.items():
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)

    yield Store(refusing, "file too large")


@contextmanager
def object_store_that_denies(folder: Path) -> Iterator[Store]:
    """Keep images in an S3 that begins to check credentials, and knows none.

    https://docs.getmoto.org/en/latest/docs/iam.html
    """
    with serve_s3(folder) as s3:

        @contextmanager
        def refusing(_watcher: Service) -> Iterator[None]:
            _check_after(s3, calls=0)
            try:
                yield
            finally:
                _check_after(s3, calls=1_000_000)

        yield Store(refusing, "it answered 403", s3.environment("images"))


def _check_after(s3: ObjectStore, *, calls: int) -> None:
    httpx.post(f"{s3.url}/moto-api/reset-auth", content=str(calls)).raise_for_status()


@contextmanager
def object_store_that_is_away(folder: Path) -> Iterator[Store]:
    """Keep images in an S3 whose server ends, and is started again on the same port."""
    with ExitStack() as running:
        s3 = running.enter_context(serve_s3(folder))

        @contextmanager
        def refusing(_watcher: Service) -> Iterator[None]:
            running.close()
            try:
                yield
            finally:
                running.enter_context(serve_s3(folder, port=int(s3.url.rpartition(":")[2])))

        yield Store(refusing, "it cannot be reached", s3.environment("images"), forgets=True)
