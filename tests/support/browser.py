"""A real Chromium on the real page, watched: what its console reports, and what axe-core finds."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, ConsoleMessage, Page, Route, async_playwright, expect

AXE: Final = Path(__file__).parents[1] / "browser" / "axe-core-4.14.1"
NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
MILLISECONDS: Final = 30_000
"""The longest that anything on the page is waited for: far longer than it takes, on a machine that is busy."""
REFUSED: Final = re.compile("status of 422")
"""What the browser itself logs of a refused upload; it is no fault of the page."""

expect.set_options(timeout=MILLISECONDS)


@dataclass
class Watched:
    """A page, and everything that its console called an error: scripts that failed, refused by policy, not found."""

    page: Page
    errors: list[str] = field(default_factory=list)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    async def serious_violations(self) -> list[str]:
        """Return what axe-core finds serious or critical on the page as it is now."""
        await self.page.evaluate(axe_source())
        # Colours in the middle of a transition are nobody's choice.
        await self.page.evaluate(
            "Promise.all(document.getAnimations().filter(a => a.transitionProperty).map(a => a.finished))"
        )
        found: dict[str, Any] = await self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{violation['id']}: {node['html']} {node['failureSummary']}"
            for violation in found["violations"]
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]


def axe_source() -> str:
    """Return axe-core as it was published. Raises `ValueError` where the file is another."""
    content = (AXE / "axe.min.js").read_bytes()
    expected = (AXE / "SHA256SUMS").read_text().split()[0]
    if hashlib.sha256(content).hexdigest() != expected:
        raise ValueError("axe.min.js is not the file that SHA256SUMS speaks of")
    return content.decode()


def executable() -> str:
    """Return the browser of this machine. Raises `FileNotFoundError`: a missing browser is a failure."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise FileNotFoundError("no Chromium on PATH; run: apt-get install -y --no-install-recommends chromium")


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """Start the browser."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses to run as root
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable(), args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def browsing(browser: Browser, **options: Any) -> AsyncIterator[Watched]:
    """Open an empty page without cookies or cache; `options` as Playwright's `new_context` takes them."""
    context = await browser.new_context(**options)
    page = await context.new_page()
    page.set_default_timeout(MILLISECONDS)
    watched = Watched(page)
    page.on("console", watched._console)
    page.on("pageerror", lambda error: watched.errors.append(str(error)))
    try:
        yield watched
    finally:
        print(f"--- {page.url}\n{await page.inner_text('body')}\n{watched.errors}")  # shown where a test fails
        await context.close()


async def drop(page: Page, selector: str, name: str, content: bytes) -> None:
    """Drop a file on an element, as a person does from a file manager."""
    transfer = await page.evaluate_handle(
        """([name, text]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([text], name, {type: "text/csv"}));
            return transfer;
        }""",
        [name, content.decode()],
    )
    for event in ("dragenter", "dragover", "drop"):
        await page.dispatch_event(selector, event, {"dataTransfer": transfer})


def planting(fault: str) -> Callable[[Route], Awaitable[None]]:
    """Return a handler for `page.route` that serves the real page with HTML planted at its end."""

    async def handle(route: Route) -> None:
        answer = await route.fetch()
        planted = (await answer.text()).replace("</body>", f"{fault}</body>")
        await route.fulfill(response=answer, body=planted)

    return handle


async def submit(page: Page, content: bytes) -> None:
    """Drop a file and send it; the request's view opens."""
    await drop(page, "#drop", "catalogue.csv", content)
    await page.click("#submit")


async def until(page: Page, status: str) -> None:
    """Wait until the request that is shown has this status."""
    await expect(page.locator("#request-status")).to_have_text(status, timeout=60_000)


async def downloaded(page: Page, link: str) -> bytes:
    """Return the file that a link brings."""
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name=link).click()
    path = await (await downloading.value).path()
    return await asyncio.to_thread(path.read_bytes)
