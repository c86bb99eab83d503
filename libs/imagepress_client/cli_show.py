"""What the command prints: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from imagepress_client.answers import Progress as ProgressCall
from imagepress_client.model import ApiProblem, Request, Upload

SHOWN_FAILURES: Final = 20
COLOURS: Final = {"completed": "green", "failed": "red", "cancelled": "yellow", "processing": "cyan"}


class Show:
    """Prints for people, or with `as_json` one JSON object for programs."""

    def __init__(self, *, as_json: bool) -> None:
        """Print to where the process prints."""
        self._as_json = as_json
        self._out = Console(highlight=False)
        self._err = Console(highlight=False, stderr=True)

    def document(self, document: dict[str, Any]) -> None:
        """Print the result for programs."""
        if self._as_json:
            sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")

    def say(self, sentence: str) -> None:
        """Tell a person what was done."""
        if not self._as_json:
            self._err.print(Text(printable(sentence)))

    def error(self, sentence: str, problems: Sequence[ApiProblem] = (), **facts: Any) -> None:
        """Tell what went wrong, and the single problems by line."""
        listed = [asdict(problem) for problem in problems]
        self.document({"error": {"detail": sentence, **facts, "problems": listed}})
        if self._as_json:
            return
        self._err.print(Text.assemble(("imagepress: ", "bold red"), printable(sentence)))
        self._problems(problems)

    def accepted(self, upload: Upload) -> None:
        """Tell that an upload was accepted, and which rows were left out."""
        self.say(f"accepted: {upload.request_id}")
        if upload.skipped:
            self.say(f"bad rows left out: {upload.skipped:,}")
            self._problems(upload.problems)

    def request(self, request: Request) -> None:
        """Print how far a request is, and why images failed."""
        if self._as_json:
            return
        head = Text.assemble(
            printable(request.request_id), "  ", _status(request), f"  {counts(request)}  {saved(request)}"
        )
        self._out.print(head, soft_wrap=True)
        if webhook := request.raw.get("webhook"):
            self._out.print(Text(printable(f"  webhook: {webhook['state']}, tries: {webhook['tries']}")))
        errors = [(row.product_name, error) for row in request.rows for error in row.errors]
        for product, error in errors[:SHOWN_FAILURES]:
            told = f"  {product}: {error['url']}  {error['code']}: {error['message']}"
            self._out.print(Text(printable(told)), soft_wrap=True)
        if len(errors) > SHOWN_FAILURES:
            self._out.print(f"  … and {len(errors) - SHOWN_FAILURES:,} more; --output FILE writes all of them")

    def requests(self, requests: Sequence[Request], *, more: bool) -> None:
        """Print a table of requests."""
        if self._as_json:
            return
        table = Table("request", "status", "created", "images", "size", box=None, pad_edge=False)
        table.columns[0].no_wrap = True
        for request in requests:
            created = str(request.raw.get("created_at") or "")[:19].replace("T", " ")
            request_id, when = Text(printable(request.request_id)), Text(printable(created))
            table.add_row(request_id, _status(request), when, counts(request), saved(request))
        self._out.print(table if requests else "no requests")
        if more:
            self.say("there are more: --limit N shows them")

    @contextmanager
    def progress(self, what: str) -> Iterator[ProgressCall]:
        """Show a bar on a terminal; yield the function that moves it."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Failed())
        with self._bar(*columns, _Rate(), TimeElapsedColumn(), TimeRemainingColumn()) as bar:
            task = bar.add_task(what, total=None, failed=0)
            yield lambda now: bar.update(task, total=now.total, completed=now.done, failed=now.failed)

    @contextmanager
    def counted(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        """Show a bar of `total` steps; yield the function that goes one further."""
        with self._bar(TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), _Rate()) as bar:
            task = bar.add_task(what, total=total)
            yield lambda: bar.advance(task)

    def _bar(self, *columns: ProgressColumn) -> Progress:
        return Progress(*columns, console=self._err, disable=self._as_json or not self._err.is_terminal)

    def _problems(self, problems: Sequence[ApiProblem]) -> None:
        if self._as_json:
            return
        for problem in problems:
            where = f"line {problem.line}, {problem.field}" if problem.line else problem.field
            self._err.print(Text.assemble("  ", (printable(where), "bold"), ": ", printable(problem.message)))


class _Rate(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f}/s" if speed else "", style="cyan")


class _Failed(ProgressColumn):
    """How many images failed, where any did."""

    def render(self, task: Task) -> Text:
        failed = task.fields["failed"]
        return Text(f"{failed:,} failed" if failed else "", style="red")


def printable(text: str) -> str:
    """Return text of strangers without what would steer the terminal."""
    return "".join(character if character.isprintable() else "�" for character in text)


def counts(request: Request) -> str:
    """Return how many images have succeeded, and how many failed."""
    failed = f", {request.failed:,} failed" if request.failed else ""
    return f"{request.succeeded:,}/{request.total:,}{failed}"


def saved(request: Request) -> str:
    """Return the sizes before and after, and what was saved."""
    if not request.bytes_in:
        return ""
    less = 1 - request.bytes_out / request.bytes_in
    return f"{size(request.bytes_in)} → {size(request.bytes_out)} ({less:.0%} less)"


def size(count: int) -> str:
    """Return a number of bytes for people, in powers of a thousand."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if unit != "MB" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.2f} GB"


def _status(request: Request) -> Text:
    return Text(printable(request.status), style=COLOURS.get(request.status, ""))
