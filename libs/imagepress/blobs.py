"""Stored images, in a folder or an object store, behind one small interface (obstore).

A path names one content for ever (`documents.image_path`), so storing twice is harmless and caches may keep it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from imagepress.errors import ImagepressError, PermanentError, StartupError, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore.store import ObjectStore

CHUNK_BYTES: Final = 256 * 1024

CONTENT_TYPES: Final = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
    "gif": "image/gif",
}
"""Types of the images that imagepress stores, by extension."""


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
        self._local = storage_url.startswith("file://")
        try:
            self._store = _open(storage_url)
        except (BaseError, OSError, ValueError) as error:
            raise StartupError(f"STORAGE_URL cannot be used: {error}") from error

    async def put(self, path: str, data: bytes) -> None:
        """Store `data` at `path`, whole or not at all."""
        with _translated(path, absent=StorageUnavailable):  # a folder that is gone may come back
            if self._local:  # a folder keeps no attributes: the extension tells the type
                await self._store.put_async(path, data)
            else:
                attributes = {
                    "Content-Type": content_type(path),
                    "Cache-Control": "public, max-age=31536000, immutable",
                }
                await self._store.put_async(path, data, attributes=attributes)

    async def head(self, path: str) -> BlobInfo:
        """Return size and type of the image at `path`."""
        with _translated(path):
            meta = await self._store.head_async(path)
        return BlobInfo(size=meta["size"], content_type=content_type(path))

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


def content_type(path: str) -> str:
    """Return the content type that a stored image's extension stands for."""
    return CONTENT_TYPES.get(path.rpartition(".")[2], "application/octet-stream")


def _open(storage_url: str) -> ObjectStore:
    if storage_url.startswith("file://"):
        return LocalStore(Path(storage_url.removeprefix("file://")).resolve(), mkdir=True)
    return from_url(storage_url)


@contextmanager
def _translated(path: str, absent: type[ImagepressError] = BlobNotFound) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:  # obstore's NotFoundError is one, too
        raise absent(f"there is no image at {path}") from error
    except (BaseError, OSError) as error:
        raise StorageUnavailable(f"the image store refuses right now: {str(error)[:300]}") from error
