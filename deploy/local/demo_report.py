"""What came of the demo: every output downloaded, looked at, shown, and checked against what was uploaded."""

from __future__ import annotations

import io
from dataclasses import dataclass

import httpx
from PIL import Image
from rich.console import Console
from rich.table import Table

from deploy.local.demo_catalogue import Catalogue
from deploy.local.demo_servers import PHOTOS, Receiver
from imagepress_client import Request


@dataclass(frozen=True)
class Result:
    """One image: where it came from, its sizes in bytes, and what its output really is."""

    product: str
    url: str
    output: str | None
    reason: str
    bytes_in: int = 0
    bytes_out: int = 0
    downloaded: int = 0
    format: str = ""
    size: tuple[int, int] = (0, 0)

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
    answer = await http.get(result.output or "")
    answer.raise_for_status()
    with Image.open(io.BytesIO(answer.content)) as image:
        image.load()
        return Result(
            result.product,
            result.url,
            result.output,
            result.reason,
            bytes_in=sizes["bytes_in"],
            bytes_out=sizes["bytes_out"],
            downloaded=len(answer.content),
            format=image.format or "",
            size=image.size,
        )


def show(request: Request, results: list[Result], receiver: Receiver, console: Console) -> None:
    """Print a table of the images, and what the webhook said."""
    table = Table(title=f"request {request.request_id}: {request.status}")
    for heading in ("product", "image"):
        table.add_column(heading)
    for heading in ("pixels", "before", "after", "saved"):
        table.add_column(heading, justify="right")
    for result in results:
        table.add_row(result.product, result.name, *_figures(result))
    before, after = (sum(getattr(result, name) for result in results) for name in ("bytes_in", "bytes_out"))
    table.add_section()
    table.add_row("all", "", "", _kb(before), _kb(after), f"{1 - after / before:.0%}" if before else "")
    console.print(table)
    for call in receiver.calls:
        console.print(f"webhook received, signature verified: {call['type']}, {call['images']}")


def _figures(result: Result) -> tuple[str, str, str, str]:
    if not result.output:
        return "", "", "", f"[red]{result.reason}[/]"
    pixels = f"{result.size[0]} × {result.size[1]}"
    return pixels, _kb(result.bytes_in), _kb(result.bytes_out), f"{1 - result.bytes_out / result.bytes_in:.0%}"


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
    source = PHOTOS / result.name
    with Image.open(source) as original:
        size = original.size
    expected: list[tuple[str, object, object]] = [
        ("pixels", result.size, size),
        ("format", result.format, "JPEG"),
        ("bytes before", result.bytes_in, source.stat().st_size),
        ("bytes after", result.bytes_out, result.downloaded),
    ]
    wrong = [f"{result.name}, {what}: {got!r} instead of {wanted!r}" for what, got, wanted in expected if got != wanted]
    if result.bytes_out > result.bytes_in:
        wrong.append(f"{result.name} grew from {result.bytes_in} to {result.bytes_out} bytes")
    return wrong
