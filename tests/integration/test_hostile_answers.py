"""From a URL to its code: whatever a hostile host answers, the image fails with the contract's name for it, in time."""

from __future__ import annotations

import asyncio

import pytest

from imagepress.errors import ImageError
from services.watcher.image import Place, deliver
from services.watcher.settings import WatcherSettings
from services.watcher.worker import tools
from tests.conftest import MakeSettings
from tests.support.hostile import bombs, healthy
from tests.support.origin import (
    Answer,
    body,
    dripping,
    endless,
    gzip_bomb,
    gzipped,
    lying,
    redirect,
    reset,
    serve_origin,
    silent,
    status,
)

PAGE = b"<!DOCTYPE html><html><body>Not found</body></html>"
PHOTO = healthy()["jpeg"]
LIMIT = 1_000_000


def kinds() -> dict[str, tuple[Answer, str]]:
    """Answers and the codes that they end with."""
    return {
        "endless body": (endless(), "too_many_bytes"),
        "dripping body": (dripping(0.02), "timeout"),
        "silence": (silent(), "timeout"),
        "reset": (reset(), "unreachable"),
        "more declared than sent": (lying(PHOTO, len(PHOTO) + 1), "unreachable"),
        "absurdly much declared": (lying(b"", 10**12), "too_many_bytes"),
        "gzip bomb": (gzip_bomb(64 << 20), "too_many_bytes"),
        "broken gzip": (body(PHOTO, headers={"Content-Encoding": "gzip"}), "corrupt"),
        "packed page": (gzipped(PAGE), "not_an_image"),
        "page as a picture": (body(PAGE, "image/jpeg"), "not_an_image"),
        "page behind a picture's magic": (body(PHOTO[:3] + PAGE), "corrupt"),
        "nothing": (body(b""), "not_an_image"),
        "half a picture": (body(PHOTO[: len(PHOTO) // 2]), "corrupt"),
        "drawing": (body(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "unsupported_format"),
        "gone": (status(410), "http_410"),
        "inner address": (redirect("http://169.254.169.254:8080/latest/meta-data"), "forbidden_address"),
        "loop": (redirect("/"), "http_302"),
        **{f"bomb of {kind}": (body(data), "too_many_pixels") for kind, data in bombs().items()},
    }


KINDS = kinds()


@pytest.mark.parametrize("name", KINDS)
async def test_every_hostile_answer_has_its_code(name: str, make_settings: MakeSettings) -> None:
    """The client reads what was wrong, and nothing of it is left in memory or under way."""
    answer, code = KINDS[name]
    settings = make_settings(
        WatcherSettings, max_image_bytes=LIMIT, max_pixels=4_000_000, fetch_seconds=1.0, fetch_tries=1
    )
    async with serve_origin({"/": answer}) as origin, tools(settings) as opened, asyncio.timeout(20):
        with pytest.raises(ImageError) as failed:
            await deliver(origin.url("/"), [Place(0, 0)], request_id="r", options={}, turn_of="b", tools=opened)
        assert (failed.value.code, bool(failed.value.message)) == (code, True)
        assert (opened.bytes_in_flight.in_use, opened.pixels_in_flight.in_use, len(opened.in_flight)) == (0, 0, 0)


async def test_a_picture_and_a_script_at_once_is_stored_as_a_picture(make_settings: MakeSettings) -> None:
    """Of a polyglot only the pixels are stored, under the type that they have, whatever the header said."""
    script = b"*/=1;alert(document.domain)//<script>"
    settings = make_settings(WatcherSettings)
    async with (
        serve_origin({"/x.html": body(PHOTO + script, "text/html")}) as origin,
        tools(settings) as opened,
    ):
        url = origin.url("/x.html")
        (done,) = await deliver(url, [Place(0, 0)], request_id="r", options={}, turn_of="b", tools=opened)
        stored = b"".join([piece async for piece in opened.blobs.read(done["blob"], 0, done["bytes_out"])])
    assert done["blob"].endswith(".jpg")
    assert stored.startswith(b"\xff\xd8\xff")
    assert script not in stored
