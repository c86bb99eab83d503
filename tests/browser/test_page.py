"""The page in a real browser against the real services: everything that a person does there."""

from __future__ import annotations

import asyncio
import csv
import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.support import origin as origins
from tests.support.browser import Watched, browsing, drop, planting
from tests.support.calls import until_ended, upload
from tests.support.origin import Answer, Origin
from tests.support.processes import Service
from tests.support.receiver import serve_receiver
from tests.support.uploads import HEADER, csv_of

REFUSED = re.compile(r"status of 422")
NOTE_COUNTS = """() => {
    window.seen = [];
    const text = (id) => document.getElementById(id).textContent;
    const note = () => {
        if (text("request-status") !== "processing") return;
        window.seen.push([Number(text("done")), text("rate"), text("left")]);
    };
    new MutationObserver(note).observe(document.getElementById("done"), {childList: true});
}"""
"""Makes the page note each count that it shows while a request runs, however short."""


def _urls(origin: Origin, number: int) -> list[str]:
    return [origin.url(f"/{n}.jpg") for n in range(number)]


def _slow(seconds: float, then: Answer) -> Answer:
    """Answer like a host that is far away."""

    async def write(writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(seconds)
        return await then(writer)

    return write


async def _submit(page: Page, content: bytes) -> None:
    """Drop a file and send it; the request's view opens."""
    await drop(page, "#drop", "catalogue.csv", content)
    await page.click("#submit")


async def _until(page: Page, status: str) -> None:
    await expect(page.locator("#request-status")).to_have_text(status, timeout=60_000)


async def test_a_dropped_csv_becomes_a_grid_of_images(watched: Watched, origin: Origin) -> None:
    """Drop, send, completed: figures, a card for each image with its sizes, thumbnails that loaded, an own address."""
    page = watched.page
    await drop(page, "#drop", "catalogue.csv", csv_of(_urls(origin, 6)))
    await expect(page.locator("#chosen")).to_have_text("catalogue.csv")
    await page.click("#submit")
    await _until(page, "completed")
    await expect(page.locator("#done")).to_have_text("6")
    await expect(page.locator("#grid > li")).to_have_count(6)
    await expect(page.locator("#grid .sizes").first).to_contain_text("kB → ")
    for thumbnail in await page.locator("#grid img").all():
        await expect(thumbnail).to_have_js_property("naturalWidth", 320)
    assert re.search(r"#[0-9a-f-]{36}$", page.url)
    await page.reload()
    await _until(page, "completed")
    await page.go_back()
    await expect(page.locator("#past > li")).to_have_count(1)


async def test_a_bad_file_is_shown_line_by_line_and_its_good_rows_can_go_on(watched: Watched, origin: Origin) -> None:
    """Nothing is stored of a bad file; its lines are listed, and a button sends the others."""
    page = watched.page
    content = HEADER + f"1,a,ftp://h.example/a\n2,b,{origin.url('/0.jpg')}\nx,c,{origin.url('/1.jpg')}\n"
    await _submit(page, content.encode())
    rows = page.locator("#problems-rows > tr")
    await expect(rows).to_have_count(2)
    assert [await row.locator("td").first.inner_text() for row in await rows.all()] == ["2", "4"]
    await expect(page.locator("#problems")).to_be_focused()
    await expect(page.locator("#past-none")).to_be_visible()
    assert await watched.serious_violations() == []
    await page.click("#skip-bad")
    await _until(page, "completed")
    await expect(page.locator("#total")).to_have_text("1")
    assert len(watched.errors) == 1
    assert REFUSED.search(watched.errors.pop())  # the browser itself logs the refusal; it is no fault of the page


async def test_a_file_without_the_header_offers_no_good_rows(watched: Watched) -> None:
    """What is wrong with the whole file cannot be skipped."""
    await _submit(watched.page, b"nothing,of,use\n1,a,http://h.example/a\n")
    await expect(watched.page.locator("#problems-rows > tr").first).to_be_visible()
    await expect(watched.page.locator("#skip-bad")).to_be_hidden()
    assert REFUSED.search(watched.errors.pop())


async def test_progress_is_live(watched: Watched, origin: Origin) -> None:
    """Of 500 slow images at least ten different counts are seen, growing, with rate and time left, before the end."""
    page = watched.page
    for n in range(500):
        origin.answers[f"/slow/{n}"] = _slow(0.25, origin.answers[f"/{n % 6}.jpg"])
    await page.evaluate(NOTE_COUNTS)
    await _submit(page, csv_of([origin.url(f"/slow/{n}") for n in range(500)]))
    await _until(page, "completed")
    seen: list[tuple[int, str, str]] = await page.evaluate("window.seen")
    counts = [count for count, _, _ in seen if 0 < count < 500]
    assert len(set(counts)) >= 10
    assert counts == sorted(counts)
    assert any(rate != "–" and left.endswith(" s") for _, rate, left in seen)
    await expect(page.locator("#grid > li")).to_have_count(48)
    await page.click("#grid-more")
    await expect(page.locator("#grid > li")).to_have_count(96)


async def test_failed_images_are_filtered_and_tried_again(watched: Watched, origin: Origin) -> None:
    """The filter shows only what failed, each with its reason; after the origin is mended, a retry completes it."""
    page = watched.page
    good = origin.answers.pop("/2.jpg")
    await _submit(page, csv_of(_urls(origin, 4)))
    await _until(page, "completed")
    await page.get_by_text("Failed", exact=True).click()
    await expect(page.locator("#grid > li")).to_have_count(1)
    await expect(page.locator("#grid .reason")).to_contain_text("http_404")
    origin.answers["/2.jpg"] = good
    await page.get_by_role("button", name="Retry 1 image").click()
    await expect(page.locator("#failed")).to_have_text("0")
    await _until(page, "completed")
    await expect(page.locator("#grid-none")).to_be_visible()
    await expect(page.locator("#retry")).to_be_hidden()


async def test_a_request_is_cancelled_and_deleted(watched: Watched, origin: Origin) -> None:
    """Cancel ends it; delete asks first, then leads back to a list without it."""
    page = watched.page
    origin.answers["/0.jpg"] = origins.silent()
    await _submit(page, csv_of(_urls(origin, 3)))
    await page.get_by_role("button", name="Cancel").click()
    await _until(page, "cancelled")
    await page.get_by_role("button", name="Delete").click()
    await expect(page.locator("#ask")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("#request")).to_be_visible()
    await page.get_by_role("button", name="Delete").click()
    await page.locator("#ask-yes").click()
    await expect(page.locator("#past-none")).to_be_visible()


async def test_the_result_is_downloaded(watched: Watched, origin: Origin, tmp_path: Path) -> None:
    """The CSV has every row with its link."""
    page = watched.page
    await _submit(page, csv_of(_urls(origin, 3)))
    await _until(page, "completed")
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="Download CSV").click()
    target = tmp_path / "result.csv"
    await (await downloading.value).save_as(target)
    rows = list(csv.DictReader(target.read_text(encoding="utf-8-sig").splitlines()))
    assert [row["Product Name"] for row in rows] == ["SKU1", "SKU2", "SKU3"]
    assert all("/compressed_images/" in row["Output Image Urls"] for row in rows)


async def test_before_and_after_are_compared_by_keyboard(watched: Watched, origin: Origin) -> None:
    """A card opens the comparison, arrows move the slider, buttons go to the next image, Escape closes."""
    page = watched.page
    await _submit(page, csv_of(_urls(origin, 2)))
    await _until(page, "completed")
    await page.locator("#grid button.thumb").first.focus()
    await page.keyboard.press("Enter")
    slider = page.locator("#compare-slider")
    await expect(slider).to_be_focused()
    for name in ("compare-before", "compare-after"):
        await expect(page.locator(f"#{name}")).to_have_js_property("naturalWidth", 320)
    await page.keyboard.press("ArrowLeft")
    await expect(slider).to_have_value("49")
    assert await page.evaluate("document.getElementById('compare-stage').style.getPropertyValue('--share')") == "49%"
    assert await watched.serious_violations() == []
    await page.get_by_role("button", name="Next").click()
    await expect(page.locator("#compare-title")).to_have_text("SKU2")
    await page.keyboard.press("Escape")
    await expect(page.locator("#compare")).to_be_hidden()


async def test_the_webhook_is_followed(watched: Watched, origin: Origin) -> None:
    """A webhook that was asked for under Options is shown as delivered, without a reload."""
    page = watched.page
    async with serve_receiver() as receiver:
        await page.get_by_text("Options").click()
        await page.get_by_label("Webhook, called when all is done").fill(receiver.url("/hook"))
        await _submit(page, csv_of(_urls(origin, 1)))
        await expect(page.locator("#webhook-state")).to_have_text("delivered")
    assert len(receiver.received) == 1


async def test_past_requests_are_listed_by_status(watched: Watched, system: dict[str, Service], origin: Origin) -> None:
    """Thirteen requests come on two pages, newest first; the filter leaves those of one status."""
    page = watched.page
    ids = [await upload(system["ingest"], csv_of(_urls(origin, 1))) for _ in range(12)]
    ids.append(await upload(system["ingest"], csv_of([origin.url("/nothing")])))
    for request_id in ids:
        await until_ended(system["ingest"], request_id)
    await page.reload()
    await expect(page.locator("#past > li")).to_have_count(12)
    await page.click("#past-more")
    await expect(page.locator("#past > li")).to_have_count(13)
    shown = [await code.inner_text() for code in await page.locator("#past code").all()]
    assert shown == [request_id[:8] for request_id in reversed(ids)]
    await page.select_option("#past-status", "failed")
    await expect(page.locator("#past > li")).to_have_count(1)
    await page.locator("#past a").click()
    await _until(page, "failed")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_keeps_people_out(system: dict[str, Service], origin: Origin, scheme: str) -> None:
    """On a phone, light and dark: axe-core finds nothing serious on any view, and nothing is wider than the screen."""
    origin.answers.pop("/1.jpg")
    request_id = await upload(system["ingest"], csv_of(_urls(origin, 3)))
    await until_ended(system["ingest"], request_id)
    async with browsing(viewport={"width": 375, "height": 740}, color_scheme=scheme) as watched:
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
async def test_faults_of_the_page_are_noticed(system: dict[str, Service], fault: str, told: str) -> None:
    """A script or a style that the policy forbids, and a file that is missing, are reported by the watched console."""
    async with browsing() as watched:
        await watched.page.route(f"{system['ingest'].url}/", planting(fault))
        await watched.page.goto(system["ingest"].url)
        await watched.page.wait_for_selector("#home:not([hidden])")
        assert any(told in error for error in watched.errors)


async def test_inaccessible_elements_are_noticed(watched: Watched) -> None:
    """axe-core reports a button without a name."""
    await watched.page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert [found.partition(":")[0] for found in await watched.serious_violations()] == ["button-name"]
