"""What the service says, as typed values; pure, shared by the sync and the async client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["pending", "processing", "completed", "failed", "cancelled"]
ENDED = ("completed", "failed", "cancelled")


class Unreachable(Exception):
    """The service cannot be reached."""


@dataclass(frozen=True, slots=True)
class ApiProblem:
    """One of several problems: line of the file where there is one, column or parameter, and a sentence."""

    line: int | None
    field: str
    message: str


class ApiError(Exception):
    """The service refused: HTTP status, a sentence, and the single problems (RFC 9457 `application/problem+json`)."""

    def __init__(self, status: int, detail: str, problems: list[ApiProblem]) -> None:
        """Carry what the service said."""
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Upload:
    """An accepted upload; `status_url` is where the service says that its status is.

    `skipped` rows were left out as bad (only with `on_error="skip"`); `problems` has what is wrong with the first.
    """

    request_id: str
    status: str
    status_url: str
    skipped: int = 0
    problems: list[ApiProblem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the CSV: `outputs` has a link or None for each of `inputs`; `errors`, `images` as the API has them."""

    serial_number: int
    product_name: str
    inputs: list[str]
    outputs: list[str | None]
    errors: list[dict[str, str]]
    images: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Request:
    """The status of a request, sizes in bytes; `raw` is the whole JSON document."""

    request_id: str
    status: str
    total: int
    succeeded: int
    failed: int
    rows: list[Row]
    raw: dict[str, Any]
    bytes_in: int = 0
    bytes_out: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will change."""
        return self.status in ENDED

    @property
    def done(self) -> int:
        """Images with an outcome."""
        return self.succeeded + self.failed


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list of requests, without their rows; `next` is the cursor of the page behind it."""

    requests: list[Request]
    next: str | None


@dataclass(frozen=True, slots=True)
class Webhook:
    """What became of the webhook: its state, and its attempts as the API has them."""

    state: str
    attempts: list[dict[str, Any]]
    raw: dict[str, Any]


def upload_of(document: dict[str, Any], location: str) -> Upload:
    """Read the answer to an upload and its header `Location`; what later versions add is passed over."""
    skipped = document.get("skipped") or {}
    problems = _problems(skipped.get("problems"))
    return Upload(document["request_id"], document["status"], location, skipped.get("count", 0), problems)


def request_of(document: dict[str, Any]) -> Request:
    """Read a status document, or an entry of the list."""
    images, sizes = document["images"], document.get("bytes", {})
    return Request(
        request_id=document["request_id"],
        status=document["status"],
        total=images["total"],
        succeeded=images["succeeded"],
        failed=images["failed"],
        bytes_in=sizes.get("input", 0),
        bytes_out=sizes.get("output", 0),
        rows=[_row(row) for row in document.get("details", [])],
        raw=document,
    )


def page_of(document: dict[str, Any]) -> Page:
    """Read a page of the list."""
    return Page([request_of(entry) for entry in document["requests"]], document["next"])


def webhook_of(document: dict[str, Any]) -> Webhook:
    """Read what became of a webhook."""
    return Webhook(document["state"], document.get("attempts", []), document)


def _row(row: dict[str, Any]) -> Row:
    return Row(
        serial_number=row["serial_number"],
        product_name=row["product_name"],
        inputs=row["input_image_urls"],
        outputs=row["output_image_urls"],
        errors=row.get("errors", []),
        images=row.get("images", []),
    )


def error_of(status: int, document: Any) -> ApiError:
    """Read a problem document; anything else gives an error with the status alone."""
    if not isinstance(document, dict):
        return ApiError(status, "the service answered without a reason", [])
    detail = str(document.get("detail") or document.get("title") or "")
    return ApiError(status, detail, _problems(document.get("errors")))


def _problems(entries: list[dict[str, Any]] | None) -> list[ApiProblem]:
    return [ApiProblem(entry.get("line"), entry.get("field", ""), entry.get("message", "")) for entry in entries or []]
