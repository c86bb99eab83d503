"""The page of a service that asks for keys."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.support.browser import Watched, browsing, downloaded, submit, until
from tests.support.origin import Origin
from tests.support.processes import Service, services
from tests.support.uploads import csv_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHOP: Final = "a-key-of-the-shop-only"
OTHER: Final = "a-key-of-somebody-else"
TURNED_AWAY: Final = re.compile("status of (401|404)")


@pytest_asyncio.fixture(loop_scope="session")
async def guarded(shared: dict[str, str], system: dict[str, Service], tmp_path: Path) -> AsyncIterator[str]:
    """Where an ingest asks for keys; the watcher of the others works for it, too."""
    assert "watcher" in system
    async with services({**shared, "API_KEYS": f"shop:{SHOP},other:{OTHER}"}, tmp_path) as made:
        await made["ingest"].start()
        yield made["ingest"].url


@pytest_asyncio.fixture(loop_scope="session")
async def page_of(browser: Browser, guarded: str) -> AsyncIterator[Watched]:
    """A browser without a cookie on that page; the browser itself logs each 401 that the page was answered."""
    async with browsing(browser) as opened:
        await opened.page.goto(guarded)
        yield opened
        assert [error for error in opened.errors if not TURNED_AWAY.search(error)] == []


async def _sign_in(watched: Watched, key: str) -> None:
    await watched.page.get_by_label("Key", exact=True).fill(key)
    await watched.page.keyboard.press("Enter")


async def test_a_key_opens_the_page_until_signing_out(page_of: Watched, origin: Origin) -> None:
    """A wrong key is refused and asked for again; a right one shows images, CSV and ZIP, and is asked for after all."""
    page = page_of.page
    assert await page_of.serious_violations() == []
    await _sign_in(page_of, "not-a-key-of-anybody")
    await expect(page.locator("#trouble")).to_contain_text("key is not known")
    await _sign_in(page_of, SHOP)
    await expect(page.locator("#past-none")).to_be_visible()
    await submit(page, csv_of([origin.url("/0.jpg")]))
    await until(page, "completed")
    await expect(page.locator("#grid img")).to_have_js_property("naturalWidth", 320)
    assert b"signature=" in await downloaded(page, "Download CSV")
    assert await downloaded(page, "Download ZIP")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.locator("#ask")).to_be_visible()


async def test_the_page_shows_nobody_elses_requests(page_of: Watched, origin: Origin) -> None:
    """With another key the list is empty, and the address of a request leads to a sentence, not to the request."""
    page = page_of.page
    await _sign_in(page_of, SHOP)
    await submit(page, csv_of([origin.url("/0.jpg")]))
    await until(page, "completed")
    address = page.url
    await page.get_by_role("button", name="Sign out").click()
    await _sign_in(page_of, OTHER)
    await expect(page.locator("#past-none")).to_be_visible()
    await page.goto(address)
    await expect(page.locator("#request-when")).to_contain_text("there is no request")
    await expect(page.locator("#done")).to_be_hidden()
    await expect(page.locator("#grid > li")).to_have_count(0)
