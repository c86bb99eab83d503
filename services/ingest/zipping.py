"""All images of a request in one ZIP file, made while it is sent: one image at a time is in memory, none on disk.

Images are stored as they are, since they do not deflate, and ZIP64 is used where it is needed. What stays in memory is
the directory at the end of the file: about 500 bytes an image, so that the images of all files under way are limited.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, Final

from zipstream import ZipStream

from imagepress.blobs import Blobs
from services.ingest.problems import RETRY_AFTER_SECONDS, ProblemError

Document = dict[str, Any]

MOST_IMAGES: Final = 400_000
"""In all files under way in a process: 200 MB, and two of the largest requests."""

_LONGEST_NAME: Final = 60

_UNSAFE: Final = re.compile(r"[^\w.-]+")  # of all alphabets, letters and digits stay


class Zipper:
    """Packs images; counts how many are being packed."""

    def __init__(self, blobs: Blobs) -> None:
        """Read the images from `blobs`."""
        self._blobs = blobs
        self._images = 0

    async def pack(self, rows: AsyncIterator[Document], images: int) -> AsyncIterator[bytes]:
        """Yield the file with the images of `rows` that succeeded, about `images` of them, in their order.

        Raises `ProblemError` 503 before the first piece; `BlobNotFound`, `StorageUnavailable` and `DatabaseUnavailable`
        at any: the file must not be taken for whole then.
        """
        if self._images and self._images + images > MOST_IMAGES:
            detail = "too many images are being packed at this moment; please try again"
            raise ProblemError(503, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
        self._images += images
        try:
            async for piece in packed(self._files(rows)):
                yield piece
        finally:
            self._images -= images

    async def _files(self, rows: AsyncIterator[Document]) -> AsyncIterator[tuple[str, bytes]]:
        async for row in rows:
            for image in row["images"]:
                if "blob" in image:
                    pieces = self._blobs.read(image["blob"], 0, image["bytes_out"])
                    yield file_name(row, image), b"".join([piece async for piece in pieces])


async def packed(files: AsyncIterator[tuple[str, bytes]]) -> AsyncIterator[bytes]:
    """Yield the ZIP file of files with these names and contents, each as soon as it is given."""
    archive = ZipStream(sized=False)
    async for name, content in files:
        archive.add(content, name)
        for piece in archive.file():
            yield piece
    for piece in archive.footer():
        yield piece


def file_name(row: Document, image: Document) -> str:
    """Return the name of an image in the file: row, product, place in the row, both from 1; no two are equal."""
    product = _UNSAFE.sub("_", row["product_name"])[:_LONGEST_NAME].strip("._")
    extension = image["blob"].rpartition(".")[2]
    return f"{row['row'] + 1:06}-{product or 'product'}-{image['n'] + 1:02}.{extension}"
