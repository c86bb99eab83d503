"""What browsers and busy callers are told: security headers, other sites' pages, too many calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from imagepress.mongo import Database
from services.ingest.settings import IngestSettings
from tests.conftest import MakeSettings
from tests.support.api import serving
from tests.support.uploads import csv_of

CONTENT = csv_of(["http://h.example/a"])
SHOP, PRESS = "shops-key-0123456789", "press-key-0123456789"
PAGE = "https://shop.example"


@pytest.fixture
async def api(database: Database, make_settings: MakeSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running ingest that lets three uploads a minute in, and pages of one other site."""
    assert database is not None
    settings = make_settings(
        IngestSettings,
        uploads_per_minute=3,
        cors_origins=PAGE,
        api_keys=f"shop:{SHOP},press:{PRESS}",
        public_base_url="https://ip.test",
    )
    async with serving(settings) as client:
        yield client


async def _upload(api: httpx.AsyncClient, key: str) -> httpx.Response:
    return await api.post("/api/upload", files={"file": ("c.csv", CONTENT)}, headers={"X-API-Key": key})


async def test_who_uploads_too_often_is_told_when_to_come_back(api: httpx.AsyncClient, database: Database) -> None:
    """The fourth upload of a minute is 429 with Retry-After, before it is read; another client does not notice."""
    assert [(await _upload(api, SHOP)).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = await _upload(api, SHOP)
    assert refused.headers["content-type"] == "application/problem+json"
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert (await _upload(api, PRESS)).status_code == 200
    assert await database.requests.count_documents({}) == 4


async def test_without_keys_addresses_are_counted(database: Database, make_settings: MakeSettings) -> None:
    """An open service counts by address, and believes a proxy that it trusts who its callers are."""
    assert database is not None
    async with serving(make_settings(IngestSettings, uploads_per_minute=1)) as api:
        file = {"file": ("c.csv", CONTENT)}
        answers = [
            await api.post("/api/upload", files=file, headers={"X-Forwarded-For": address})
            for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2")
        ]
    assert [answer.status_code for answer in answers] == [200, 429, 200, 200, 429]


async def test_guessing_keys_is_slow(api: httpx.AsyncClient) -> None:
    """Signing in is counted, too."""
    tries = [await api.post("/api/sign-in", json={"key": "guess"}) for _ in range(4)]
    assert [answer.status_code for answer in tries] == [401, 401, 401, 429]


@pytest.mark.parametrize("path", ["/api/requests", "/livez", "/nothing", "/openapi.json", "/docs"])
async def test_every_answer_tells_browsers_to_be_careful(api: httpx.AsyncClient, path: str) -> None:
    """Answers and refusals alike are not sniffed, not framed, not referred from; data runs nothing; HTTPS stays."""
    headers = (await api.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert ("content-security-policy" in headers) == (path != "/docs")


def _preflight(origin: str) -> dict[str, Any]:
    return {
        "url": "/api/requests",
        "headers": {
            "Origin": origin,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization",
        },
    }


async def test_pages_of_a_site_that_is_named_may_call_with_a_key(api: httpx.AsyncClient) -> None:
    """The named site's preflight needs no key and is allowed, without cookies; another site's is not."""
    allowed = await api.options(**_preflight(PAGE))
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == PAGE
    assert "access-control-allow-credentials" not in allowed.headers
    assert (await api.options(**_preflight("https://evil.example"))).status_code == 400
    answer = await api.get("/api/requests", headers={"Origin": PAGE, "X-API-Key": SHOP})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, PAGE)
    refused = await api.get("/api/requests", headers={"Origin": PAGE})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)


async def test_no_other_site_is_let_in_by_default(database: Database, make_settings: MakeSettings) -> None:
    """Without CORS_ORIGINS no answer may be read by another site's page."""
    assert database is not None
    async with serving(make_settings(IngestSettings)) as api:
        answer = await api.get("/api/requests", headers={"Origin": PAGE})
        assert "access-control-allow-origin" not in answer.headers
        assert (await api.options(**_preflight(PAGE))).status_code == 405
