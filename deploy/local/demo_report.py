"""What came of the demo: every output downloaded, looked at, shown, and checked against what was uploaded."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Final

import httpx
from PIL import Image, ImageChops, ImageStat
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.local.demo_catalogue import Catalogue
from deploy.local.demo_servers import PHOTOS, Receiver
from imagepress_client import Request

THUMBNAIL: Final = (32, 32)
LIKE: Final = 6.0
"""Two thumbnails show the same where their pixels differ by less, of 255, on average. Measured: quality 50 costs at
most 0.9, and the nearest two of the photographs, brick and grass, are 15 apart."""


@dataclass(frozen=True)
class Result:
    """One image: where it came from, its sizes in bytes, and what its output really is; `fault` if it is no image."""

    product: str
    url: str
    output: str | None
    reason: str
    bytes_in: int = 0
    bytes_out: int = 0
    downloaded: int = 0
    format: str = ""
    size: tuple[int, int] = (0, 0)
    thumbnail: Image.Image | None = None
    fault: str = ""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


async def download(request: Request) -> list[Result]:
    """Download and decode every output of a request."""
    results = []
    async with httpx.AsyncClient() as http:
        for row in request.rows:
            sizes = {image["url"]: image for image in row.images}
            reasons = {error["url"]: f"{error['code']}: {error['message']}" for error in row.errors}
            for url, output in zip(row.inputs, row.outputs, strict=True):
                result = Result(row.product_name, url, output, reasons.get(url, ""))
                results.append(await _downloaded(http, result, sizes[url]) if output else result)
    return results


async def _downloaded(http: httpx.AsyncClient, result: Result, sizes: dict[str, int]) -> Result:
    known = replace(result, bytes_in=sizes["bytes_in"], bytes_out=sizes["bytes_out"])
    try:
        answer = await http.get(result.output or "")
        answer.raise_for_status()
        with Image.open(io.BytesIO(answer.content)) as image:
            return replace(
                known,
                downloaded=len(answer.content),
                format=image.format or "",
                size=image.size,
                thumbnail=thumbnail_of(image),
            )
    except (httpx.HTTPError, OSError, SyntaxError, ValueError) as error:  # Pillow's words for what is no image
        return replace(known, fault=f"{type(error).__name__}: {error}")


def thumbnail_of(image: Image.Image) -> Image.Image:
    """Return the image, decoded, so small that only what it shows is left."""
    return image.convert("RGB").resize(THUMBNAIL, Image.Resampling.BOX)


def show(request: Request, results: list[Result], receiver: Receiver, console: Console) -> None:
    """Print a table of the images, and what the webhook said."""
    table = Table(title=f"request {request.request_id}: {request.status}")
    for heading in ("product", "image"):
        table.add_column(heading)
    for heading in ("pixels", "before", "after", "saved"):
        table.add_column(heading, justify="right")
    for result in results:
        table.add_row(escape(result.product), escape(result.name), *_figures(result))
    before, after = (sum(getattr(result, name) for result in results) for name in ("bytes_in", "bytes_out"))
    table.add_section()
    table.add_row("all", "", "", _kb(before), _kb(after), _saved(before, after))
    console.print(table)
    for call in receiver.calls:
        console.print(f"webhook received, signature verified: {call['type']}, {call['images']}", markup=False)


def _figures(result: Result) -> tuple[str, str, str, str]:
    if not result.output or result.fault:
        return "", "", "", f"[red]{escape(result.fault or result.reason)}[/]"
    pixels = f"{result.size[0]} × {result.size[1]}"
    return pixels, _kb(result.bytes_in), _kb(result.bytes_out), _saved(result.bytes_in, result.bytes_out)


def _saved(before: int, after: int) -> str:
    return f"{1 - after / before:.0%}" if before else ""


def _kb(size: int) -> str:
    return f"{size / 1000:,.0f} kB"


def problems(catalogue: Catalogue, request: Request, results: list[Result], receiver: Receiver) -> list[str]:
    """Return, as sentences, everything that is not as it should be."""
    found: list[str] = []
    rows = [(row.serial_number, row.product_name, row.inputs) for row in request.rows]
    total = len(catalogue.urls)
    counts = {"total": total, "succeeded": total - 1, "failed": 1}
    expected: list[tuple[str, object, object]] = [
        ("rows", rows, catalogue.rows),
        ("status", request.status, "completed"),
        ("counts", request.raw["images"], counts),
        ("failed images", [result.url for result in results if not result.output], [catalogue.missing]),
        ("reasons", [result.reason.partition(":")[0] for result in results if result.reason], ["http_404"]),
        (
            "webhooks",
            [(call["request_id"], call["status"], call["images"]) for call in receiver.calls],
            [(request.request_id, "completed", counts)],
        ),
        ("webhooks with a wrong signature", receiver.forged, 0),
    ]
    found += [f"{what}: {got!r} instead of {wanted!r}" for what, got, wanted in expected if got != wanted]
    for result in results:
        if result.output:
            found += _picture_problems(result)
    return found


def _picture_problems(result: Result) -> list[str]:
    if result.thumbnail is None:
        return [f"{result.name}, its output: {result.fault}"]
    source = PHOTOS / result.name
    with Image.open(source) as original:
        size = original.size
        difference = ImageStat.Stat(ImageChops.difference(result.thumbnail, thumbnail_of(original)))
    expected: list[tuple[str, object, object]] = [
        ("pixels", result.size, size),
        ("format", result.format, "JPEG"),
        ("bytes before", result.bytes_in, source.stat().st_size),
        ("bytes after", result.bytes_out, result.downloaded),
    ]
    wrong = [f"{result.name}, {what}: {got!r} instead of {wanted!r}" for what, got, wanted in expected if got != wanted]
    if result.bytes_out > result.bytes_in:
        wrong.append(f"{result.name} grew from {result.bytes_in} to {result.bytes_out} bytes")
    if sum(difference.mean) / len(difference.mean) > LIKE:
        wrong.append(f"{result.name}: its output shows something else")
    return wrong
