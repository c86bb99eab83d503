"""Image stores that can be made to refuse for a while, each in its own way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from tests.support.object_store import ObjectStore, serve_s3
from tests.support.small_disk import small_disk

DISK_SIZE: Final = "16m"
"""Room for the images of a test, twice over."""


@dataclass(frozen=True)
class Store:
    """A store: how a service finds it, and what makes it refuse."""

    refusing: Callable[[], AbstractContextManager[None]]
    """Makes it refuse for a while, whoever uses it."""
    reason: str
    """What clients are told."""
    environment: dict[str, str] = field(default_factory=dict)
    forgets: bool = False
    """Whether it has lost all images afterwards."""
    enter: tuple[str, ...] = ()
    """The command, if any, that runs a service where the store is found."""


@contextmanager
def folder_that_goes(folder: Path) -> Iterator[Store]:
    """Keep images in `folder`, in whose place there is a file then: every write fails, for root too."""

    @contextmanager
    def refusing() -> Iterator[None]:
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
def folder_that_denies(folder: Path) -> Iterator[Store]:
    """Keep images in a folder that nobody may write into then; root leaves its privilege behind (capabilities(7))."""

    @contextmanager
    def refusing() -> Iterator[None]:
        kept = [folder / "images", *(path for path in (folder / "images").iterdir() if path.is_dir())]
        for path in kept:
            path.chmod(0o555)
        try:
            yield
        finally:
            for path in kept:
                path.chmod(0o755)

    unprivileged = ("setpriv", "--bounding-set=-dac_override") if os.geteuid() == 0 else ()
    yield Store(refusing, "permission denied", enter=unprivileged)


@contextmanager
def disk_that_is_full(folder: Path) -> Iterator[Store]:
    """Keep images on a small disk of their own, of which no block is free then."""
    with small_disk(folder / "images", DISK_SIZE) as disk:
        yield Store(disk.full, "no space left on device", enter=disk.enter)


@contextmanager
def object_store_that_denies(folder: Path) -> Iterator[Store]:
    """Keep images in an S3 that begins to check credentials, and knows none.

    https://docs.getmoto.org/en/latest/docs/iam.html
    """
    with serve_s3(folder) as s3:

        @contextmanager
        def refusing() -> Iterator[None]:
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
        def refusing() -> Iterator[None]:
            running.close()
            try:
                yield
            finally:
                running.enter_context(serve_s3(folder, port=int(s3.url.rpartition(":")[2])))

        yield Store(refusing, "it cannot be reached", s3.environment("images"), forgets=True)
