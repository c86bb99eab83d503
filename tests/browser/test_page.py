"""The page in a real browser against the real services: everything that a person does there."""

from __future__ import annotations

import asyncio
import csv
import io
import re
import zipfile

import pytest
from playwright.async_api import expect

from tests.support import origin as origins
from tests.support.browser import REFUSED, Watched, downloaded, drop, submit, until
from tests.support.calls import until_ended, upload
from tests.support.origin import Answer, Origin
from tests.support.processes import Service
from tests.support.receiver import serve_receiver
from tests.support.uploads import HEADER, csv_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

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


async def test_a_dropped_csv_becomes_a_grid_of_images(watched: Watched, origin: Origin) -> None:
    """Drop, send, completed: figures, a card for each image with its sizes, thumbnails that loaded, an own address."""
    page = watched.page
    await drop(page, "#drop", "catalogue.csv", csv_of(_urls(origin, 6)))
    await expect(page.locator("#chosen")).to_have_text("catalogue.csv")
    await page.click("#submit")
    await until(page, "completed")
    await expect(page.locator("#done")).to_have_text("6")
    await expect(page.locator("#grid > li")).to_have_count(6)
    await expect(page.locator("#grid .sizes").first).to_contain_text("kB → ")
    for thumbnail in await page.locator("#grid img").all():
        await expect(thumbnail).to_have_js_property("naturalWidth", 320)
    assert re.search(r"#[0-9a-f-]{36}$", page.url)
    await page.reload()
    await until(page, "completed")
    await page.go_back()
    await expect(page.locator("#past > li")).to_have_count(1)


async def test_strangers_text_stays_text(watched: Watched, origin: Origin) -> None:
    """Whatever a product, a URL or a file is called, it is shown as it is written, and nothing of it runs."""
    page, name = watched.page, "<img src=x onerror=alert(1)>"
    url = origin.url("/%3Cscript%3Ealert(1)%3C%2Fscript%3E'\"><b>.jpg")
    await drop(page, "#drop", f"{name}.csv", f"{HEADER}1,{name},{url}\n".encode())
    await expect(page.locator("#chosen")).to_have_text(f"{name}.csv")
    await page.click("#submit")
    await until(page, "failed")
    await expect(page.locator("#grid .caption b")).to_have_text(name)
    assert await page.locator("main :is(script, img, [onerror])").count() == 0


async def test_a_bad_file_is_shown_line_by_line_and_its_good_rows_can_go_on(watched: Watched, origin: Origin) -> None:
    """Nothing is stored of a bad file; its lines are listed, and a button sends the others."""
    page = watched.page
    content = HEADER + f"1,a,ftp://h.example/a\n2,b,{origin.url('/0.jpg')}\nx,c,{origin.url('/1.jpg')}\n"
    await submit(page, content.encode())
    rows = page.locator("#problems-rows > tr")
    await expect(rows).to_have_count(2)
    assert [await row.locator("td").first.inner_text() for row in await rows.all()] == ["2", "4"]
    await expect(page.locator("#problems")).to_be_focused()
    await expect(page.locator("#past-none")).to_be_visible()
    assert await watched.serious_violations() == []
    await page.click("#skip-bad")
    await until(page, "completed")
    await expect(page.locator("#total")).to_have_text("1")
    assert len(watched.errors) == 1
    assert REFUSED.search(watched.errors.pop())  # the browser itself logs the refusal; it is no fault of the page


async def test_a_file_without_the_header_offers_no_good_rows(watched: Watched) -> None:
    """What is wrong with the whole file cannot be skipped."""
    await submit(watched.page, b"nothing,of,use\n1,a,http://h.example/a\n")
    await expect(watched.page.locator("#problems-rows > tr").first).to_be_visible()
    await expect(watched.page.locator("#skip-bad")).to_be_hidden()
    assert REFUSED.search(watched.errors.pop())


async def test_progress_is_live(watched: Watched, origin: Origin) -> None:
    """Of 500 slow images at least ten different counts are seen, growing, with rate and time left, before the end."""
    page = watched.page
    for n in range(500):
        origin.answers[f"/slow/{n}"] = _slow(0.5, origin.answers[f"/{n % 6}.jpg"])
    await page.evaluate(NOTE_COUNTS)
    await submit(page, csv_of([origin.url(f"/slow/{n}") for n in range(500)]))
    await until(page, "completed")
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
    await submit(page, csv_of(_urls(origin, 4)))
    await until(page, "completed")
    await page.get_by_text("Failed", exact=True).click()
    await expect(page.locator("#grid > li")).to_have_count(1)
    await expect(page.locator("#grid .reason")).to_contain_text("http_404")
    origin.answers["/2.jpg"] = good
    await page.get_by_role("button", name="Retry 1 image").click()
    await expect(page.locator("#failed")).to_have_text("0")
    await until(page, "completed")
    await expect(page.locator("#grid-none")).to_be_visible()
    await expect(page.locator("#retry")).to_be_hidden()


async def test_a_request_is_cancelled_and_deleted(watched: Watched, origin: Origin) -> None:
    """Cancel ends it; delete asks first, then leads back to a list without it."""
    page = watched.page
    origin.answers["/0.jpg"] = origins.silent()
    await submit(page, csv_of(_urls(origin, 3)))
    await page.get_by_role("button", name="Cancel").click()
    await until(page, "cancelled")
    await page.get_by_text("Failed", exact=True).click()
    await expect(page.locator("#grid .reason")).to_contain_text(["cancelled"])
    await page.get_by_role("button", name="Delete").click()
    await expect(page.locator("#ask")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("#request")).to_be_visible()
    await page.get_by_role("button", name="Delete").click()
    await page.locator("#ask-yes").click()
    await expect(page.locator("#past-none")).to_be_visible()


async def test_the_result_is_downloaded(watched: Watched, origin: Origin) -> None:
    """The CSV has every row with its link, the ZIP file every image."""
    page = watched.page
    await submit(page, csv_of(_urls(origin, 3)))
    await until(page, "completed")
    table = await downloaded(page, "Download CSV")
    rows = list(csv.DictReader(table.decode("utf-8-sig").splitlines()))
    assert [row["Product Name"] for row in rows] == ["SKU1", "SKU2", "SKU3"]
    assert all("/compressed_images/" in row["Output Image Urls"] for row in rows)
    with zipfile.ZipFile(io.BytesIO(await downloaded(page, "Download ZIP"))) as archive:
        assert len(archive.namelist()) == 3
        assert archive.testzip() is None


async def test_before_and_after_are_compared_by_keyboard(watched: Watched, origin: Origin) -> None:
    """A card opens the comparison, arrows move the slider, buttons go to the next image, Escape closes."""
    page = watched.page
    await submit(page, csv_of(_urls(origin, 2)))
    await until(page, "completed")
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
    """A webhook asked for under Options is shown as delivered, with each attempt; it is sent again at a click."""
    page = watched.page
    async with serve_receiver(origins.in_turn(origins.status(503), origins.status(200))) as receiver:
        await page.get_by_text("Options").click()
        await page.get_by_label("Webhook, called when all is done").fill(receiver.url("/hook"))
        await submit(page, csv_of(_urls(origin, 1)))
        await expect(page.locator("#webhook-state")).to_have_text("delivered")
        attempts = page.locator("#attempts > li")
        await expect(attempts.locator("b")).to_have_text(["answered 200", "answered 503"])
        await page.get_by_role("button", name="Send again").click()
        await expect(attempts).to_have_count(3)
        await expect(page.locator("#webhook-state")).to_have_text("delivered")
    assert len(receiver.received) == 3


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
    await until(page, "failed")
