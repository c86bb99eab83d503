"""A real Chromium on the real page, watched: what its console reports, and what axe-core finds."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from playwright.async_api import ConsoleMessage, Page, Route, async_playwright

AXE: Final = Path(__file__).parents[1] / "browser" / "axe-core-4.14.1"
NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
MILLISECONDS: Final = 30_000


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
async def browsing(**context: Any) -> AsyncIterator[Watched]:
    """Open an empty page in a fresh browser; `context` as Playwright's `new_context` takes it."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses to run as root
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable(), args=arguments)
        page = await (await browser.new_context(**context)).new_page()
        page.set_default_timeout(MILLISECONDS)
        watched = Watched(page)
        page.on("console", watched._console)
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        try:
            yield watched
        except BaseException:
            print(f"--- {page.url}\n{await page.locator('main').inner_text()}\n{watched.errors}")
            raise
        finally:
            await browser.close()


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
