"""All images of a request as one ZIP file: what is in it, under which names, and what it costs."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from imagepress.blobs import Blobs
from imagepress.documents import ImageStatus, image_path
from imagepress.mongo import Database
from services.ingest.problems import ProblemError
from services.ingest.settings import IngestSettings
from services.ingest.zipping import MOST_IMAGES, Zipper, file_name, packed
from tests.conftest import MakeSettings
from tests.support.api import serving

HEADER = "S. No.,Product Name,Input Image Urls\n"
MEGABYTE = 1_000_000


@pytest.fixture
async def api(database: Database, make_settings: MakeSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running ingest."""
    assert database is not None
    async with serving(make_settings(IngestSettings)) as client:
        yield client


@pytest.fixture
def blobs(make_settings: MakeSettings) -> Blobs:
    """The store that the ingest reads."""
    return Blobs(make_settings(IngestSettings).storage_url)


async def _done(api: httpx.AsyncClient, database: Database, blobs: Blobs, rows: str) -> tuple[str, list[bytes]]:
    """Upload, and store an image for each URL that does not end with `gone`; return the id and the images in order."""
    answer = await api.post("/api/upload", files={"file": ("c.csv", HEADER + rows)})
    request_id, stored = str(answer.json()["request_id"]), list[bytes]()
    async for batch in database.batches.find({"request_id": request_id}).sort("_id", 1):
        for row in batch["rows"]:
            for image in row["images"]:
                if image["url"].endswith("gone"):
                    image |= {"status": ImageStatus.FAILED, "error": {"code": "http_404", "message": "gone"}}
                    continue
                content = f"image {image['url']}".encode() * 50
                blob = image_path(request_id, row["row"], image["n"], f"{len(stored):08}", "jpg")
                await blobs.put(blob, content)
                image |= {"status": ImageStatus.SUCCEEDED, "blob": blob, "bytes_in": 1, "bytes_out": len(content)}
                stored.append(content)
        await database.batches.replace_one({"_id": batch["_id"]}, batch)
    return request_id, stored


async def test_all_images_that_succeeded_are_in_one_file(
    api: httpx.AsyncClient, database: Database, blobs: Blobs
) -> None:
    """The file has each image once, as stored, in the order of the CSV; none that failed."""
    many = ",".join(f"http://h.example/b{n}" for n in range(20))
    rows = f"1,Same,http://h.example/a,http://h.example/gone\n2,Same,{many}\n3,../../Äpfel: 7\\8/?,http://h.example/c\n"
    request_id, stored = await _done(api, database, blobs, rows)
    answer = await api.get(f"/api/requests/{request_id}/images.zip")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f'attachment; filename="imagepress-{request_id}.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert [archive.read(name) for name in names] == stored
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    assert names[:2] == ["000001-Same-01.jpg", "000002-Same-01.jpg"]
    assert names[-1] == "000003-Äpfel_7_8-01.jpg"
    assert len(set(names)) == len(names) == 22


async def test_a_request_without_an_image_has_an_empty_file(api: httpx.AsyncClient) -> None:
    """Before anything is done the file is a good one with nothing in it."""
    answer = await api.post("/api/upload", files={"file": ("c.csv", HEADER + "1,a,http://h.example/a\n")})
    empty = await api.get(f"/api/requests/{answer.json()['request_id']}/images.zip")
    assert zipfile.ZipFile(io.BytesIO(empty.content)).namelist() == []


async def test_a_file_that_cannot_be_whole_breaks_off(api: httpx.AsyncClient, database: Database, blobs: Blobs) -> None:
    """An image that is missing in the store breaks the connection, so that nobody takes the file for whole."""
    request_id, _ = await _done(api, database, blobs, "1,a,http://h.example/a\n2,b,http://h.example/b\n")
    await blobs.delete_under(request_id)
    assert (await api.get(f"/api/requests/{request_id}/images.zip")).status_code == 404
    blob = image_path(request_id, 0, 0, "00000000", "jpg")
    await blobs.put(blob, b"image http://h.example/a" * 50)
    with pytest.raises(httpx.RemoteProtocolError):
        await api.get(f"/api/requests/{request_id}/images.zip")


async def _rows(blob: str, rows: int, size: int) -> AsyncIterator[dict[str, Any]]:
    for row in range(rows):
        yield {"row": row, "product_name": "p", "images": [{"n": 0, "blob": blob, "bytes_out": size}]}


async def test_memory_does_not_grow_with_the_images(blobs: Blobs) -> None:
    """A hundred megabytes in a hundred images are packed within ten."""
    await blobs.put("r/000000-00-01234567.jpg", bytes(MEGABYTE))
    tracemalloc.start()
    try:
        pieces = Zipper(blobs).pack(_rows("r/000000-00-01234567.jpg", 100, MEGABYTE), 100)
        size = sum([len(piece) async for piece in pieces])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 100 * MEGABYTE
    assert peak < 10 * MEGABYTE


async def test_more_files_than_a_plain_zip_file_can_name() -> None:
    """70,000 files, for which the format needs ZIP64, are all found again."""

    async def files() -> AsyncIterator[tuple[str, bytes]]:
        for number in range(70_000):
            yield f"{number}.jpg", b"tiny"

    content = b"".join([piece async for piece in packed(files())])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert len(archive.namelist()) == 70_000
        assert archive.read("69999.jpg") == b"tiny"


async def test_images_under_way_are_limited(blobs: Blobs) -> None:
    """While the largest files are being packed another one is refused for now, and accepted when they are done."""
    await blobs.put("r/000000-00-01234567.jpg", b"tiny")
    zipper = Zipper(blobs)
    first = zipper.pack(_rows("r/000000-00-01234567.jpg", 2, 4), MOST_IMAGES)
    await anext(first)
    with pytest.raises(ProblemError):
        await anext(zipper.pack(_rows("r/000000-00-01234567.jpg", 1, 4), 1))
    assert [piece async for piece in first]
    assert [piece async for piece in zipper.pack(_rows("r/000000-00-01234567.jpg", 1, 4), 1)]


@pytest.mark.parametrize(
    ("product", "name"),
    [
        ("Plain", "000007-Plain-03.jpg"),
        ("../../etc/passwd", "000007-etc_passwd-03.jpg"),
        ("CON", "000007-CON-03.jpg"),
        ("a\nb\x00c", "000007-a_b_c-03.jpg"),
        ("///", "000007-product-03.jpg"),
        ("日本語 テスト", "000007-日本語_テスト-03.jpg"),
        ("x" * 1024, f"000007-{'x' * 60}-03.jpg"),
    ],
)
def test_names_are_safe_on_every_system(product: str, name: str) -> None:
    """Whatever a product is called, its file is named by row, what is harmless of the name, and place."""
    assert file_name({"row": 6, "product_name": product}, {"n": 2, "blob": "r/x.jpg"}) == name
