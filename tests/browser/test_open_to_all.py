"""Nobody is kept out by the page, and the two watchmen of all its tests, console and axe-core, are awake."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser

from tests.support.browser import Watched, browsing, planting
from tests.support.calls import until_ended, upload
from tests.support.origin import Origin
from tests.support.processes import Service
from tests.support.uploads import csv_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_keeps_people_out(
    system: dict[str, Service], browser: Browser, origin: Origin, scheme: str
) -> None:
    """On a phone, light and dark: axe-core finds nothing serious on any view, and nothing is wider than the screen."""
    origin.answers.pop("/1.jpg")
    request_id = await upload(system["ingest"], csv_of([origin.url(f"/{n}.jpg") for n in range(3)]))
    await until_ended(system["ingest"], request_id)
    async with browsing(browser, viewport={"width": 375, "height": 740}, color_scheme=scheme) as watched:
        for address, ready in (
            (system["ingest"].url, "#past > li"),
            (f"{system['ingest'].url}/#{request_id}", "#grid > li"),
        ):
            await watched.page.goto(address)
            await watched.page.locator(ready).first.wait_for()
            await watched.page.evaluate("document.querySelector('details').open = true")
            assert await watched.serious_violations() == []
            assert await watched.page.evaluate("document.documentElement.scrollWidth") == 375
        assert watched.errors == []


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("<script>1</script>", "Content Security Policy"),
        ('<p style="color: red">x</p>', "Content Security Policy"),
        ('<img src="/web/no-such-file.svg" alt="">', "404"),
    ],
)
async def test_faults_of_the_page_are_noticed(
    system: dict[str, Service], browser: Browser, fault: str, told: str
) -> None:
    """A script or a style that the policy forbids, and a file that is missing, are reported by the watched console."""
    async with browsing(browser) as watched:
        await watched.page.route(f"{system['ingest'].url}/", planting(fault))
        await watched.page.goto(system["ingest"].url)
        await watched.page.wait_for_selector("#home:not([hidden])")
        assert any(told in error for error in watched.errors)


async def test_inaccessible_elements_are_noticed(watched: Watched) -> None:
    """axe-core reports a button without a name."""
    await watched.page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert [found.partition(":")[0] for found in await watched.serious_violations()] == ["button-name"]
