"""Images in an object store, over real HTTP: what is stored with them, what is read back, links, and refusals."""

from __future__ import annotations

import httpx
import pytest

from imagepress.blobs import BlobInfo, BlobNotFound, Blobs
from imagepress.errors import SettingsError, StorageUnavailable
from imagepress.links import Links
from imagepress.mongo import Database
from services.ingest.settings import IngestSettings
from tests.conftest import MakeSettings
from tests.support.api import serving
from tests.support.object_store import BUCKET, ObjectStore

PATH = "6f1c1f0a-6f3e-4e0e-9a59-0d8f7f0f4b57/000000-00-0a1b2c3d.jpg"


@pytest.fixture
def blobs(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Blobs:
    """A store under a prefix of the bucket."""
    for name, value in object_store.environment("shop/pictures").items():
        monkeypatch.setenv(name, value)
    return Blobs(f"s3://{BUCKET}/shop/pictures")


async def test_an_image_is_stored_with_its_type_and_cached_for_ever(blobs: Blobs) -> None:
    """Who reads the bucket without us (a CDN, say) is told the content type, and that the image never changes."""
    await blobs.put(PATH, b"picture")
    await blobs.make_durable()
    async with httpx.AsyncClient() as client:
        answer = await client.get(await blobs.link(PATH, seconds=60))
    assert answer.content == b"picture"
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_an_image_is_read_back_whole_or_in_part_and_forgotten_with_its_request(blobs: Blobs) -> None:
    """Size, type and any range of bytes come back; deleting a request's images leaves no other's."""
    other = PATH.replace("6f1c", "7f1c")
    await blobs.put(PATH, b"0123456789")
    await blobs.put(other, b"other")
    assert await blobs.head(PATH) == BlobInfo(10, "image/jpeg")
    assert b"".join([piece async for piece in blobs.read(PATH, 3, 7)]) == b"3456"
    assert await blobs.delete_under(PATH.partition("/")[0]) == 1
    with pytest.raises(BlobNotFound):
        await blobs.head(PATH)
    assert (await blobs.head(other)).size == 5


async def test_a_presigned_link_opens_one_image_for_a_while(blobs: Blobs) -> None:
    """Anybody can GET the image by its link, which says until when, and holds no secret."""
    await blobs.put(PATH, b"picture")
    link = await blobs.link(PATH, seconds=60)
    async with httpx.AsyncClient() as client:
        assert (await client.get(link)).content == b"picture"
    assert httpx.URL(link).params["X-Amz-Expires"] == "60"
    assert "the-secret-access-key" not in link


@pytest.mark.usefixtures("blobs")
async def test_a_bucket_that_is_not_there_may_come_back(object_store: ObjectStore) -> None:
    """Storing into a missing bucket is a passing fault, told without addresses or keys."""
    with pytest.raises(StorageUnavailable) as refused:
        await Blobs("s3://no-such-bucket/").put(PATH, b"picture")
    assert object_store.url not in refused.value.reason


async def test_a_client_is_sent_on_to_the_store_itself(
    blobs: Blobs, database: Database, make_settings: MakeSettings
) -> None:
    """With REDIRECT_TO_STORAGE a GET leads to a presigned address, a HEAD is answered; unknown images are 404 here."""
    assert database is not None
    await blobs.put(PATH, b"picture")
    settings = make_settings(IngestSettings, storage_url=f"s3://{BUCKET}/shop/pictures", redirect_to_storage=True)
    async with serving(settings) as api:
        answer = await api.get(f"/compressed_images/{PATH}")
        assert (answer.status_code, answer.headers["cache-control"]) == (307, "private, max-age=450")
        assert (await api.get(answer.headers["location"])).content == b"picture"
        head = await api.head(f"/compressed_images/{PATH}")
        assert (head.status_code, head.headers["content-length"]) == (200, "7")
        assert (await api.get(f"/compressed_images/{PATH.replace('6f1c', '9f1c')}")).status_code == 404


def test_a_folder_cannot_serve_its_images_itself(make_settings: MakeSettings) -> None:
    """REDIRECT_TO_STORAGE with a folder does not start."""
    with pytest.raises(SettingsError, match="REDIRECT_TO_STORAGE"):
        make_settings(IngestSettings, redirect_to_storage=True)


def test_links_begin_with_the_address_that_serves_the_images() -> None:
    """PUBLIC_IMAGE_BASE_URL where there is one, else the ingest's own address; signed for both alike."""
    ours, theirs = Links("https://ip.example"), Links("https://ip.example", images_url="https://cdn.example/shop")
    assert ours.image(PATH) == f"https://ip.example/compressed_images/{PATH}"
    assert theirs.image(PATH) == f"https://cdn.example/shop/{PATH}"
    signed = [
        Links("https://ip.example", b"secret", images_url=elsewhere, clock=lambda: 0.0).image(PATH).partition("?")[2]
        for elsewhere in ("", "https://cdn.example/shop")
    ]
    assert signed[0] == signed[1] != ""
