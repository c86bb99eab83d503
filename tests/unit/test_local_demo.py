"""The demo's catalogue and its checker, which must notice every planted fault."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from deploy.local import demo_catalogue, demo_report
from deploy.local.demo_catalogue import Catalogue
from deploy.local.demo_report import Result
from deploy.local.demo_servers import PHOTOS, Receiver
from imagepress_client import Request, Row
from services.ingest import csv_rows

ORIGIN = "http://127.0.0.1:4711"
REQUEST_ID = "6f1c1f0a-6f3e-4e0e-9a59-0d8f7f0f4b57"


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return demo_catalogue.write(tmp_path / "catalogue.csv", ORIGIN)


@cache
def compressed(product: str, url: str, missing: str) -> Result:
    """What a faultless system gives for a URL of the catalogue."""
    if url == missing:
        return Result(product, url, None, "http_404: 127.0.0.1 answered 404 Not Found")
    source = PHOTOS / url.rpartition("/")[2]
    made = io.BytesIO()
    with Image.open(source) as image:
        image.convert("RGB").save(made, "JPEG", quality=50)
    with Image.open(made) as output:
        size, thumbnail = output.size, demo_report.thumbnail_of(output)
    bytes_in, bytes_out = source.stat().st_size, made.tell()
    return Result(product, url, f"{url}.out", "", bytes_in, bytes_out, bytes_out, "JPEG", size, thumbnail)


class Outcome:
    """All that the checker looks at, faultless until a test changes it."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.results = [
            compressed(product, url, catalogue.missing) for _, product, urls in catalogue.rows for url in urls
        ]
        total = len(self.results)
        images = {"total": total, "succeeded": total - 1, "failed": 1}
        rows = [Row(serial, product, urls, [], [], []) for serial, product, urls in catalogue.rows]
        self.request = Request(REQUEST_ID, "completed", total, total - 1, 1, rows, {"images": images})
        call: dict[str, Any] = {
            "type": "request.completed",
            "request_id": REQUEST_ID,
            "status": "completed",
            "images": images,
        }
        self.receiver = Receiver("", [call])

    def problems(self) -> list[str]:
        return demo_report.problems(self.catalogue, self.request, self.results, self.receiver)

    def change(self, number: int, **fields: Any) -> None:
        self.results[number] = replace(self.results[number], **fields)


@pytest.fixture
def outcome(catalogue: Catalogue) -> Outcome:
    return Outcome(catalogue)


def test_the_service_reads_the_catalogue_as_the_demo_expects(catalogue: Catalogue) -> None:
    """All the contract's odd shapes in the file come out as exactly the rows that the checker compares with."""
    with catalogue.path.open("rb") as file:
        rows = list(csv_rows.read_rows(file))
    assert [(row.serial_number, row.product_name, list(row.urls)) for row in rows if isinstance(row, csv_rows.Row)] == (
        catalogue.rows
    )
    assert len(rows) == len(catalogue.rows)


def test_the_catalogue_has_every_photograph_and_one_that_is_missing(catalogue: Catalogue) -> None:
    """Each sample is used once; the one URL that fails names no sample."""
    names = [url.rpartition("/")[2] for url in catalogue.urls if url != catalogue.missing]
    assert sorted(names) == sorted(file.name for file in PHOTOS.iterdir())
    assert len(names) >= 12
    assert catalogue.urls.count(catalogue.missing) == 1
    assert not (PHOTOS / catalogue.missing.rpartition("/")[2]).exists()


def test_every_photographs_licence_is_stated() -> None:
    """LICENSES.md has a line for each file."""
    licences = (PHOTOS.parent / "LICENSES.md").read_text()
    assert [file.name for file in PHOTOS.iterdir() if file.name not in licences] == []


def test_a_faultless_outcome_has_no_problems(outcome: Outcome) -> None:
    """What is as it should be makes the checker say nothing."""
    assert outcome.problems() == []


def swap_two_outputs(outcome: Outcome) -> None:
    """Brick and grass have the same size and are the two that look most alike."""
    numbers = [n for n, result in enumerate(outcome.results) if result.name in ("brick.jpg", "grass.jpg")]
    first, second = (outcome.results[n].thumbnail for n in numbers)
    outcome.change(numbers[0], thumbnail=second)
    outcome.change(numbers[1], thumbnail=first)


def swap_two_rows(outcome: Outcome) -> None:
    rows = outcome.request.rows
    rows[0], rows[1] = rows[1], rows[0]


def receive_twice(outcome: Outcome) -> None:
    outcome.receiver.calls *= 2


def count_wrongly(outcome: Outcome) -> None:
    outcome.receiver.calls[0] = {**outcome.receiver.calls[0], "images": {"total": 0, "succeeded": 0, "failed": 0}}


def end_as_failed(outcome: Outcome) -> None:
    outcome.request = replace(outcome.request, status="failed")


def no_reason(outcome: Outcome) -> None:
    number = [result.reason for result in outcome.results].index(next(r.reason for r in outcome.results if r.reason))
    outcome.change(number, reason="timeout: it took too long")


FAULTS: dict[str, tuple[Callable[[Outcome], None], str]] = {
    "outputs swapped": (swap_two_outputs, "shows something else"),
    "rows swapped": (swap_two_rows, "rows: "),
    "scaled": (lambda outcome: outcome.change(0, size=(256, 256)), "pixels: (256, 256) instead of (512, 512)"),
    "no JPEG": (lambda outcome: outcome.change(0, format="PNG"), "format: 'PNG' instead of 'JPEG'"),
    "grown": (lambda outcome: outcome.change(0, bytes_out=10**7, downloaded=10**7), "grew from"),
    "size before is wrong": (lambda outcome: outcome.change(0, bytes_in=10**6), "bytes before"),
    "size after is wrong": (lambda outcome: outcome.change(0, bytes_out=1), "bytes after"),
    "undecodable": (lambda outcome: outcome.change(0, thumbnail=None, fault="it is cut off"), "it is cut off"),
    "one more failed": (lambda outcome: outcome.change(0, output=None), "failed images"),
    "another reason": (no_reason, "reasons: ['timeout']"),
    "status": (end_as_failed, "status: 'failed'"),
    "no webhook": (lambda outcome: outcome.receiver.calls.clear(), "webhooks: []"),
    "two webhooks": (receive_twice, "webhooks: "),
    "wrong counts in the webhook": (count_wrongly, "webhooks: "),
    "forged webhook": (lambda outcome: setattr(outcome.receiver, "forged", 1), "wrong signature: 1"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_planted_fault_is_noticed(outcome: Outcome, fault: str) -> None:
    """The checker says what is wrong, whatever single thing is."""
    plant, said = FAULTS[fault]
    plant(outcome)
    found = outcome.problems()
    assert any(said in problem for problem in found), found


def test_the_table_shows_each_image_and_why_one_failed(outcome: Outcome) -> None:
    """Every file has its line, the failed one its reason, and text in brackets is shown as it is."""
    failed = next(n for n, result in enumerate(outcome.results) if result.reason)
    outcome.change(failed, reason="http_404: [/not markup]")
    console = Console(width=160, file=io.StringIO(), record=True)
    demo_report.show(outcome.request, outcome.results, outcome.receiver, console)
    text = console.export_text()
    assert [result.name for result in outcome.results if result.name not in text] == []
    assert "http_404: [/not markup]" in text
    assert "request.completed" in text


def test_the_table_survives_an_outcome_without_any_image(outcome: Outcome) -> None:
    """Where nothing came back the table is shown all the same, so that the problems are told."""
    outcome.results = [replace(result, output=None, bytes_in=0, bytes_out=0) for result in outcome.results]
    demo_report.show(outcome.request, outcome.results, outcome.receiver, Console(file=io.StringIO()))
    assert outcome.problems()
