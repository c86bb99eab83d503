"""Rows to batches: pure, one batch in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from imagepress.documents import RowDocument
from services.ingest.csv_rows import Row

FIRST_BATCH_IMAGES: Final = 4
"""Images in the first batch; sizes double from here, so that a small upload spreads over many watchers at once."""

TURN_IMAGES: Final = 64
"""Up to this sizes double. So many images count as one turn among uploads: a larger batch counts as several."""

LARGE_SHARE: Final = 16
"""A batch of more than `TURN_IMAGES` is at most this part of the images before it. A large upload costs the database
fewer questions, and the last batches of it still end at about the same time."""

IMAGE_ALLOWANCE_BYTES: Final = 1_000
"""Room for what an image costs in BSON beside its URL, and for what the watcher adds later: status, blob path (about 70
bytes), four numbers, or an error of a code and a sentence (up to some 500 bytes)."""

ROW_ALLOWANCE_BYTES: Final = 150
"""Room for a row's own fields in BSON, beside its name."""


def batches(
    rows: Iterable[Row], *, batch_images: int = 256, batch_bytes: int = 1_000_000
) -> Iterator[list[RowDocument]]:
    """Yield the `rows` of successive batch documents (architecture, "Documents"), in the order of the file.

    A batch has at most `batch_images` images, the first ones fewer, and at most `batch_bytes` bytes as a finished
    document, by estimate; one image is always taken. A long row continues in the next batch: `row` counts the given
    rows from 0, and `n` the images of a row, whichever batch they are in. A row without images is in no batch.
    """
    most = min(FIRST_BATCH_IMAGES, batch_images)
    batch: list[RowDocument] = []
    images = size = before = 0
    for index, row in enumerate(rows):
        row_bytes = _bytes(row.product_name) + ROW_ALLOWANCE_BYTES
        part: RowDocument | None = None
        for n, url in enumerate(row.urls):
            cost = _bytes(url) + IMAGE_ALLOWANCE_BYTES
            needed = cost if part else cost + row_bytes
            if images == most or (images and size + needed > batch_bytes):
                yield batch
                before += images
                most = min(2 * most, max(TURN_IMAGES, before // LARGE_SHARE), batch_images)
                batch, part = [], None
                images = size = 0
            if part is None:
                part = {
                    "row": index,
                    "serial_number": row.serial_number,
                    "product_name": row.product_name,
                    "images": [],
                }
                batch.append(part)
                size += row_bytes
            part["images"].append({"n": n, "url": url})
            images += 1
            size += cost
    if batch:
        yield batch


def numbered(found: Iterable[list[RowDocument]]) -> Iterator[tuple[int, list[RowDocument]]]:
    """Number batches from 0 by the turns that those before them take: a place in the file and among uploads in one."""
    seq = 0
    for batch in found:
        yield seq, batch
        seq += -(-sum(len(row["images"]) for row in batch) // TURN_IMAGES)


def _bytes(text: str) -> int:
    """Return the length of `text` in UTF-8; ASCII, nearly always the case, is not encoded for it."""
    return len(text) if text.isascii() else len(text.encode())
