"""Pure pieces of the HTTP interface: ranges, and rows put together again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from imagepress.links import Links
from services.ingest.api.images import asked_range
from services.ingest.views import row_view, summary, whole_rows


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-", range(100)),
        ("bytes=10-19", range(10, 20)),
        ("bytes=10-1000", range(10, 100)),
        ("bytes=-10", range(90, 100)),
        ("bytes=-1000", range(100)),
        ("bytes=100-", range(100, 100)),
        ("bytes=-0", range(100, 100)),
        ("bytes=-", None),
        ("bytes=9-3", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("bytes=٣-٤", None),
        ("", None),
    ],
)
def test_ranges_are_read_as_rfc_9110_says(header: str, expected: range | None) -> None:
    """One range of bytes is honoured, cut to the image; what cannot be understood is ignored."""
    assert asked_range(header, 100) == expected


def _batch(status: str, *rows: tuple[int, list[dict[str, Any]]]) -> dict[str, Any]:
    return {
        "status": status,
        "rows": [{"row": row, "serial_number": row, "product_name": "x", "images": images} for row, images in rows],
    }


async def _stream(*batches: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    for batch in batches:
        yield batch


async def test_a_row_in_three_batches_is_one_row() -> None:
    """The parts of a long row are joined in order, and its neighbours stay apart."""
    batches = _stream(
        _batch("completed", (0, [{"url": "a"}]), (1, [{"url": "b"}])),
        _batch("completed", (1, [{"url": "c"}])),
        _batch("completed", (1, [{"url": "d"}]), (2, [{"url": "e"}])),
    )
    rows = [row async for row in whole_rows(batches)]
    assert [[image["url"] for image in row["images"]] for row in rows] == [["a"], ["b", "c", "d"], ["e"]]


async def test_what_was_cancelled_before_it_was_done_says_so() -> None:
    """In a cancelled batch, an image with an outcome keeps it, and one without has failed as cancelled."""
    done = {"url": "a", "status": "succeeded", "blob": "p", "bytes_in": 2, "bytes_out": 1, "kept_original": False}
    [row] = [row async for row in whole_rows(_stream(_batch("cancelled", (0, [done, {"url": "b"}]))))]
    view = row_view(row, Links("http://ip"))
    assert view["output_image_urls"] == ["http://ip/compressed_images/p", None]
    assert [error["code"] for error in view["errors"]] == ["cancelled"]


def test_a_summary_tells_the_webhook_without_its_url() -> None:
    """State, tries and the next attempt are shown; where it goes, and who holds it, are not."""
    request = {
        "_id": "r",
        "status": "completed",
        "images": {},
        "bytes": {},
        "webhook": {"state": "due", "tries": 1, "url": "https://user:secret@h/", "host": "h"},
    }
    assert summary(request, Links("http://ip"))["webhook"] == {"state": "due", "tries": 1, "next_attempt_at": None}
