"""Rows to batches."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import bson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.batching import batches, numbered
from services.ingest.csv_rows import MAX_NAME_CHARACTERS, Row
from services.ingest.csv_urls import MAX_URL_CHARACTERS


def row(images: int, name: str = "SKU", url: str = "http://a/{}") -> Row:
    return Row(2, 7, name, tuple(url.format(n) for n in range(images)))


def sizes(found: list[Any]) -> list[int]:
    return [sum(len(part["images"]) for part in batch) for batch in found]


@pytest.mark.parametrize(
    ("images", "batch_images", "expected"),
    [
        ([], 64, []),
        ([1], 64, [1]),
        ([4], 64, [4]),
        ([1] * 5, 64, [4, 1]),
        ([200], 64, [4, 8, 16, 32, 64, 64, 12]),
        ([3] * 30, 16, [4, 8, 16, 16, 16, 16, 14]),
        ([5], 1, [1, 1, 1, 1, 1]),
        ([30], 10, [4, 8, 10, 8]),
    ],
)
def test_sizes_double(images: list[int], batch_images: int, expected: list[int]) -> None:
    """Sizes double from four images up to the limit."""
    assert sizes(list(batches(map(row, images), batch_images=batch_images))) == expected


def test_batches_of_a_large_upload_grow_with_it() -> None:
    """Up to 1,024 images they have 64; then a sixteenth of the images before them, until they have 256."""
    found = sizes(list(batches(map(row, [1] * 20_000))))
    before = list(accumulate(found, initial=0))
    assert found[4:19] == [64] * 15
    assert all(size == min(max(64, sofar // 16), 256) for size, sofar in list(zip(found, before, strict=False))[4:-1])
    assert max(found) == 256


def test_numbers_are_turns() -> None:
    """A batch of over 64 images takes several numbers, so that it is not cheaper than as many small ones."""
    found = list(numbered(batches(map(row, [1] * 5_000))))
    assert [seq for seq, _ in found[:6]] == [0, 1, 2, 3, 4, 5]
    for (seq, batch), (following, _) in pairwise(found):
        assert following - seq == -(-sizes([batch])[0] // 64)
    assert found[-1][0] == pytest.approx(5_000 / 64, rel=0.2)


def test_a_long_row_continues() -> None:
    """A row that does not fit goes on in the next batch, under the same row number and with its places going on."""
    first, second = batches([row(3), row(3)])
    assert first == [
        {
            "row": 0,
            "serial_number": 7,
            "product_name": "SKU",
            "images": [{"n": n, "url": f"http://a/{n}"} for n in range(3)],
        },
        {"row": 1, "serial_number": 7, "product_name": "SKU", "images": [{"n": 0, "url": "http://a/0"}]},
    ]
    assert second == [
        {
            "row": 1,
            "serial_number": 7,
            "product_name": "SKU",
            "images": [{"n": 1, "url": "http://a/1"}, {"n": 2, "url": "http://a/2"}],
        }
    ]


def test_one_image_is_always_taken() -> None:
    """An image larger than a whole batch may be gets a batch of its own, rather than none."""
    assert sizes(list(batches([row(3)], batch_bytes=1))) == [1, 1, 1]


def finished(batch: list[Any]) -> bytes:
    """Return the batch as BSON, each image with the longer of the two things that a watcher writes."""
    error = {"code": "forbidden_address", "message": "x" * 500}
    outcome = {"status": "failed", "error": error, "bytes_in": 2**40, "bytes_out": 2**40}
    outcome |= {"width": 2**33, "height": 2**33, "kept_original": False}
    return bson.encode({"rows": [{**part, "images": [image | outcome for image in part["images"]]} for part in batch]})


@pytest.mark.parametrize("character", ["x", "é", "€", "😀"])
def test_finished_batches_are_small(character: str) -> None:
    """The largest rows possible, with the longest errors, make documents below a megabyte, far below MongoDB's 16."""
    url = "http://a/" + character * (MAX_URL_CHARACTERS - 9)
    found = list(batches([row(1, character * MAX_NAME_CHARACTERS, url)] * 600, batch_images=256))
    assert max(len(finished(batch)) for batch in found) < 1_000_000


ROWS = st.lists(
    st.builds(Row, st.just(2), st.integers(0, 9), st.text(max_size=5), st.lists(st.text(max_size=9)).map(tuple)),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, batch_images=st.integers(1, 70), batch_bytes=st.integers(1, 20_000))
def test_every_image_once_and_in_order(rows: list[Row], batch_images: int, batch_bytes: int) -> None:
    """Batches hold every image exactly once, in the file's order, with its row's fields, within both limits."""
    found = list(batches(rows, batch_images=batch_images, batch_bytes=batch_bytes))
    held = [
        (part["row"], part["serial_number"], part["product_name"], image["n"], image["url"])
        for batch in found
        for part in batch
        for image in part["images"]
    ]
    assert held == [
        (index, row.serial_number, row.product_name, n, url)
        for index, row in enumerate(rows)
        for n, url in enumerate(row.urls)
    ]
    assert all(0 < size <= batch_images for size in sizes(found))
    assert all(part["images"] for batch in found for part in batch)
    assert all(len(finished(batch)) <= batch_bytes for batch in found if sizes([batch]) != [1])
    for batch in found:
        assert all(one["row"] < next_one["row"] for one, next_one in pairwise(batch))
