"""The files of the page over HTTP: what they are sent with, and that nothing else is sent."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from imagepress.mongo import Database
from services.ingest.settings import IngestSettings
from tests.conftest import MakeSettings
from tests.support.api import serving


@pytest.fixture
async def api(database: Database, make_settings: MakeSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running ingest."""
    assert database is not None
    async with serving(make_settings(IngestSettings)) as client:
        yield client


async def test_the_page_comes_with_a_strict_policy(api: httpx.AsyncClient) -> None:
    """No inline script or style, no other site's script, no frame, no string that becomes HTML."""
    answer = await api.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(rule.partition(" ")[::2] for rule in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_every_file_that_the_page_names_is_there(api: httpx.AsyncClient) -> None:
    """Styles, scripts and what scripts import are all served, each as what it is."""
    seen: set[str] = set()
    waiting = set(re.findall(r'(?:href|src)="/web/([^"]+)"', (await api.get("/")).text))
    while waiting:
        name = waiting.pop()
        seen.add(name)
        answer = await api.get(f"/web/{name}")
        assert answer.status_code == 200, name
        kind = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "csv": "text/csv"}
        assert answer.headers["content-type"].startswith(kind[name.rpartition(".")[2]])
        waiting |= set(re.findall(r'from "\./([^"]+)"', answer.text)) - seen
    assert {"main.js", "api.js", "grid.js", "base.css", "icon.svg", "sample.csv"} <= seen


async def test_what_a_browser_has_is_not_sent_again(api: httpx.AsyncClient) -> None:
    """With the ETag of what it has, a browser is answered 304."""
    for path in ("/", "/web/main.js"):
        etag = (await api.get(path)).headers["etag"]
        again = await api.get(path, headers={"If-None-Match": etag})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "index.html", "..%2Fapp.py", "%2e%2e/app.py", "../app.py", "%00"])
async def test_no_other_file_is_served(api: httpx.AsyncClient, name: str) -> None:
    """Only the files of the page have a name there."""
    assert (await api.get(f"/web/{name}")).status_code == 404


async def test_the_sample_is_a_good_file(api: httpx.AsyncClient) -> None:
    """The CSV that the page offers is accepted."""
    sample = (await api.get("/web/sample.csv")).content
    answer = await api.post("/api/upload", files={"file": ("sample.csv", sample)})
    assert answer.status_code == 200, answer.text
