"""Stored images, in a folder or an object store, behind one small interface (obstore).

A path names one content for ever (`documents.image_path`), so storing twice is harmless and caches may keep it.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from obstore import sign_async
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import HTTPStore, LocalStore, MemoryStore, from_url

from imagepress.errors import ImagepressError, PermanentError, StartupError, StorageUnavailable
from imagepress.folder import Folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore.store import ClientConfig, ObjectStore, RetryConfig

CHUNK_BYTES: Final = 256 * 1024

CONTENT_TYPES: Final = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
    "gif": "image/gif",
}
"""Types of the images that imagepress stores, by extension."""


# A store that is away is waited for by whoever holds the batch: a call that is told so soon can be given back in time.
# Options given here replace all of the environment's (AWS_ALLOW_HTTP …): the endpoint's own scheme says what is wanted.
_CLIENT: Final[ClientConfig] = {"connect_timeout": "5s", "timeout": "60s", "allow_http": True}
_RETRIES: Final[RetryConfig] = {"max_retries": 2, "retry_timeout": timedelta(seconds=10)}

_OS_ERROR: Final = re.compile(r"\(os error (\d+)\)")
_HTTP_STATUS: Final = re.compile(r"\b([45]\d\d) [A-Z]")
_REASONS: Final[dict[type[Exception], str]] = {
    PermissionDeniedError: "permission denied",
    UnauthenticatedError: "the credentials are not accepted",
}


class BlobNotFound(PermanentError):
    """There is no such image."""


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What is known of a stored image: size in bytes and content type."""

    size: int
    content_type: str


class Blobs:
    """The image store. Errors leave as `StorageUnavailable` (try again) or `BlobNotFound`."""

    def __init__(self, storage_url: str) -> None:
        """Open the store at `file:///folder`, `s3://bucket/prefix`, `gs://…` or `az://…`; a folder is created.

        Raises `StartupError` where that is not possible.
        """
        self._folder: Folder | None = None
        try:
            if storage_url.startswith("file://"):
                self._folder = Folder(Path(storage_url.removeprefix("file://")).resolve())
                # The last image of a request takes the request's folder with it.
                self._store: ObjectStore = LocalStore(self._folder.root, automatic_cleanup=True)
            else:
                self._store = from_url(storage_url, client_options=_CLIENT, retry_config=_RETRIES)
        except (BaseError, OSError, ValueError) as error:
            raise StartupError(f"STORAGE_URL cannot be used: {error}") from error

    @property
    def is_local(self) -> bool:
        """Whether images go into a folder, so that `put_local` can be used."""
        return self._folder is not None

    def put_local(self, path: str, data: bytes) -> None:
        """Store like `put`, in the thread that calls: a hop to another one costs more than writing a small image."""
        if self._folder is None:
            raise RuntimeError("the image store is not a folder")
        with _translated(path, absent=StorageUnavailable):  # a folder that is gone may come back
            self._folder.put(path, data)

    @property
    def losses(self) -> int:
        """How often `make_durable` has failed, for whomever: what was stored before the last time may be lost."""
        return self._folder.losses if self._folder is not None else 0

    async def make_durable(self) -> None:
        """Return when everything stored so far would outlive a power cut; in an object store each image does at once.

        For a folder that is one call for many images (see `folder`): made before a document names them.
        """
        if self._folder is not None:
            with _translated("", absent=StorageUnavailable):
                await asyncio.to_thread(self._folder.sync)

    async def put(self, path: str, data: bytes) -> None:
        """Store `data` at `path`, whole or not at all."""
        if self._folder is not None:
            await asyncio.to_thread(self.put_local, path, data)
            return
        # A folder keeps no attributes: there the extension tells the type.
        attributes = {"Content-Type": content_type(path), "Cache-Control": "public, max-age=31536000, immutable"}
        with _translated(path, absent=StorageUnavailable):  # a bucket that is gone may come back
            await self._store.put_async(path, data, attributes=attributes)

    async def head(self, path: str) -> BlobInfo:
        """Return size and type of the image at `path`."""
        with _translated(path):
            meta = await self._store.head_async(path)
        return BlobInfo(size=meta["size"], content_type=content_type(path))

    async def link(self, path: str, *, seconds: float) -> str:
        """Return a presigned address from which anybody can GET the image at `path` for `seconds`.

        Raises `TypeError` for a folder, which has none, and `StorageUnavailable` where no credentials can be had.
        """
        if isinstance(self._store, LocalStore | MemoryStore | HTTPStore):
            raise TypeError("the image store cannot sign addresses")
        with _translated(path):
            return await sign_async(self._store, "GET", path, timedelta(seconds=seconds))

    async def read(self, path: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `end`, in pieces."""
        with _translated(path):
            result = await self._store.get_async(path, options={"range": (start, end)})
            async for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    async def delete_under(self, prefix: str) -> int:
        """Delete every image whose path begins with `prefix/`; return how many there were."""
        deleted = 0
        with _translated(prefix, absent=StorageUnavailable):
            async for found in self._store.list(prefix, chunk_size=1000):
                await self._store.delete_async([meta["path"] for meta in found])
                deleted += len(found)
        return deleted

    async def sweep(self) -> int:
        """Delete what killed writers left in a folder; return how many files. Object stores keep no half ones."""
        if self._folder is None:
            return 0
        with _translated("", absent=StorageUnavailable):
            return await asyncio.to_thread(self._folder.sweep)


def content_type(path: str) -> str:
    """Return the content type that a stored image's extension stands for."""
    return CONTENT_TYPES.get(path.rpartition(".")[2], "application/octet-stream")


@contextmanager
def _translated(path: str, absent: type[ImagepressError] = BlobNotFound) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:  # obstore's NotFoundError is one, too
        if absent is BlobNotFound:
            raise BlobNotFound(f"there is no image at {path}") from error
        raise StorageUnavailable(
            f"the image store is not there: {str(error)[:300]}", reason="it is not there"
        ) from error
    except (BaseError, OSError) as error:
        message = f"the image store refuses right now: {str(error)[:300]}"
        raise StorageUnavailable(message, reason=_reason(error)) from error


def _reason(error: Exception) -> str:
    """Return why the store refuses, in words that say nothing of its paths and addresses."""
    text = str(error)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    if found := _OS_ERROR.search(text):
        return os.strerror(int(found[1])).lower()
    if found := _HTTP_STATUS.search(text):
        return f"it answered {found[1]}"
    return next((words for kind, words in _REASONS.items() if isinstance(error, kind)), "it cannot be reached")
