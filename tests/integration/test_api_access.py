"""Who may call what: every documented operation times every way to come in, so that no new route can be forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from imagepress.blobs import Blobs
from imagepress.documents import image_path
from imagepress.keys import parse_keys
from imagepress.links import STEP_SECONDS, Links
from imagepress.mongo import Database
from services.ingest.api.openapi import LINKED
from services.ingest.settings import IngestSettings
from tests.conftest import MakeSettings
from tests.support.api import serving
from tests.support.api_access import Operation, operations
from tests.support.uploads import csv_of

KEYS = "owner:owners-key-0123456789,other:others-key-0123456789"
OWN = {"Authorization": "Bearer owners-key-0123456789"}
OTHER = {"X-API-Key": "others-key-0123456789"}
BASE = "http://ip.test"
OPEN = {"livez", "readyz", "metrics", "webhookTest", "sign_in", "sign_out"}

IMAGE = b"\xff\xd8\xff\xe0 an image"

ALL = operations()
CLOSED = [operation for operation in ALL if operation.id not in OPEN]


@dataclass
class Owned:
    """A running ingest with keys, and what one of its clients has there."""

    api: httpx.AsyncClient
    database: Database
    blobs: Blobs
    links: Links
    request_id: str = ""
    blob: str = ""

    async def renew(self) -> None:
        """Have the owner upload a request with a webhook, one image of which is stored."""
        file = {"file": ("c.csv", csv_of(["http://h.example/a"]))}
        form = {"webhook_url": "https://shop.example/hook"}
        answer = await self.api.post("/api/upload", files=file, data=form, headers=OWN)
        self.request_id = answer.json()["request_id"]
        self.blob = image_path(self.request_id, 0, 0, "0123abcd" * 8, "jpg")
        await self.blobs.put(self.blob, IMAGE)
        image = {"status": "succeeded", "blob": self.blob, "bytes_in": 20, "bytes_out": 13, "kept_original": False}
        values = {f"rows.0.images.0.{name}": value for name, value in image.items()}
        await self.database.batches.update_one({"request_id": self.request_id}, {"$set": values})

    async def call(self, operation: Operation, *, query: dict[str, str] | None = None, **how: Any) -> httpx.Response:
        """Call an operation about what is owned."""
        url = operation.url(self.request_id, self.blob)
        wanted = {**operation.query(self.request_id), **(query or {})}
        async with self.api.stream(operation.method, url, params=wanted, **operation.body(), **how) as answer:
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):  # which has no end
                await answer.aread()
        return answer

    def link(self, operation: Operation, links: Links) -> dict[str, str]:
        """Return expiry and signature of the link to an operation; of that to the result where it has none."""
        made = {
            "image": lambda: links.image(self.blob),
            "images_zip": lambda: links.images_zip(self.request_id),
        }
        return _signature(made.get(operation.id, lambda: links.result_csv(self.request_id))())


@pytest.fixture
async def owned(database: Database, make_settings: MakeSettings) -> AsyncIterator[Owned]:
    """A running ingest with the keys of two clients, one of whom has a request."""
    settings = make_settings(IngestSettings, api_keys=KEYS, public_base_url=BASE)
    links = Links(BASE, settings.api_keys.link_secret())
    async with serving(settings) as api:
        made = Owned(api, database, Blobs(settings.storage_url), links)
        await made.renew()
        yield made


def test_what_is_open_is_a_short_list() -> None:
    """Every documented operation asks for a key, but health, the test receiver, and showing a key."""
    asking = {operation.id for operation in ALL if "security" in operation.document}
    assert asking == {operation.id for operation in CLOSED}
    assert {operation.id for operation in ALL} - asking == OPEN
    assert {operation.id for operation in ALL} >= LINKED


@pytest.mark.parametrize("operation", CLOSED, ids=str)
async def test_who_comes_in_where(owned: Owned, operation: Operation) -> None:
    """No key and a wrong one are 401, another's finds nothing, a bad link is 403, a good one opens its own."""
    cookie = {"Cookie": await _signed_in(owned, "owners-key-0123456789")}
    links, good = owned.links, owned.link(operation, owned.links)
    expired = owned.link(operation, Links(BASE, links.secret, seconds=-2 * STEP_SECONDS))
    forged = owned.link(operation, Links(BASE, parse_keys("owner:another-key-0123456789").link_secret()))
    by_cookie = 200 if operation.method == "get" else 403
    table: list[tuple[str, dict[str, Any], int]] = [
        ("no key", {}, 401),
        ("wrong key", {"headers": {"Authorization": "Bearer x"}}, 401),
        ("empty key", {"headers": {"X-API-Key": ""}}, 401),
        ("password", {"headers": {"Authorization": "Basic eA=="}}, 401),
        ("other's key", {"headers": OTHER}, 404 if operation.names_a_request else 200),
        ("expired link", {"query": expired}, 403),
        ("altered signature", {"query": {**good, "signature": "A" * len(good["signature"])}}, 403),
        ("altered expiry", {"query": {**good, "expires": str(int(good["expires"]) + 1)}}, 403),
        ("link without expiry", {"query": {"signature": good["signature"]}}, 403),
        ("link of other keys", {"query": forged}, 403),
        ("link to something else", {"query": _signature(links.image("else"))}, 403),
        ("good link", {"query": good}, 200 if operation.id in LINKED else 403),
        ("good link, wrong key", {"query": good, "headers": {"Authorization": "Bearer x"}}, 401),
        ("cookie from another site", {"headers": {**cookie, "Origin": "https://evil.example"}}, by_cookie),
        ("cookie from nowhere", {"headers": {**cookie, "Origin": "null"}}, by_cookie),
        ("cookie without origin", {"headers": cookie}, by_cookie),
        ("cookie of the page, expired link", {"query": expired, "headers": {**cookie, "Origin": BASE}}, 200),
        ("own key", {"headers": OWN}, 200),
    ]
    seen, mine = {}, owned.request_id
    for way, how, _ in table:
        if way == "own key":
            await owned.renew()  # the call before may have changed it
        seen[way] = await owned.call(operation, **how)
    assert {way: _came_in(answer) for way, answer in seen.items()} == {way: status for way, _, status in table}
    assert operation.names_a_request or mine not in seen["other's key"].text
    assert seen["no key"].headers["content-type"] == "application/problem+json"
    assert seen["no key"].headers["www-authenticate"].startswith("Bearer")


def _came_in(answer: httpx.Response) -> int:
    """Return the status, and 200 for whatever the operation itself answers to who came in."""
    return 200 if answer.status_code in (204, 409) else answer.status_code


def _signature(url: str) -> dict[str, str]:
    """Return expiry and signature of a link."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


async def test_links_of_the_status_are_good_and_kept_private(owned: Owned) -> None:
    """The links that a status shows are fetched without a key, and caches between keep nothing of them."""
    shown = (await owned.api.get("/api/status", params={"request_id": owned.request_id}, headers=OWN)).json()
    image = shown["details"][0]["output_image_urls"][0]
    for url in (image, *shown["links"].values()):
        assert url.startswith(BASE)
        answer = await owned.api.get(url.removeprefix(BASE))
        assert answer.status_code == 200
        assert not {"public"} & set(answer.headers["cache-control"].split(", "))
    cached = (await owned.api.get(image.removeprefix(BASE))).headers["cache-control"]
    assert cached.startswith("private, max-age=")
    assert 6 * 86400 < int(cached.split("=")[1].split(",")[0]) <= 8 * 86400


async def _signed_in(owned: Owned, key: str) -> str:
    answer = await owned.api.post("/api/sign-in", json={"key": key})
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    owned.api.cookies.clear()  # sent by hand: httpx would not, to an address that is not the one it came from
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    return cookie.split(";")[0]


async def test_a_cookie_that_was_altered_or_taken_back_is_no_key(owned: Owned) -> None:
    """Another client's name in the cookie, a later expiry, or nonsense is 401; a wrong key gets no cookie."""
    name, _, value = (await _signed_in(owned, "owners-key-0123456789")).partition("=")
    client, expires, signature = value.split("~")
    for made in (f"other~{expires}~{signature}", f"{client}~{int(expires) + 1}~{signature}", "~~", ""):
        answer = await owned.api.get("/api/requests", headers=[("Cookie", f"{name}={made}")])
        assert answer.status_code == 401
    assert (await owned.api.post("/api/sign-in", json={"key": "nobodys-key-0123456789"})).status_code == 401
    out = await owned.api.post("/api/sign-out")
    assert (out.status_code, 'imagepress=""' in out.headers["set-cookie"]) == (204, True)


async def test_paths_that_do_not_exist_are_closed_too(owned: Owned) -> None:
    """Without a key nobody learns which paths there are; the page's files are asked for without one."""
    assert (await owned.api.get("/api/nothing")).status_code == 401
    assert (await owned.api.get("/api/nothing", headers=OWN)).status_code == 404
    assert (await owned.api.get("/web/nothing.js")).status_code == 404


async def test_an_open_service_says_so(database: Database, environment: dict[str, str], tmp_path: Path) -> None:
    """Without keys the service warns at its start; with keys it does not, and never shows one."""
    from tests.support.processes import services

    assert database is not None
    async with services(environment, tmp_path) as system:
        await system["ingest"].start()
        assert "open to everybody" in system["ingest"].said()
    (tmp_path / "closed").mkdir()
    async with services({**environment, "API_KEYS": KEYS}, tmp_path / "closed") as system:
        await system["ingest"].start()
        assert "open to everybody" not in system["ingest"].said()
        assert "owners-key" not in system["ingest"].said()
