"""What the service says, as typed values; pure, shared by the sync and the async client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    """An accepted upload; `status_url` is where the service says that its status is."""

    request_id: str
    status: str
    status_url: str


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
    """The status of a request; `raw` is the whole JSON document."""

    request_id: str
    status: str
    total: int
    succeeded: int
    failed: int
    rows: list[Row]
    raw: dict[str, Any]

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will change."""
        return self.status in ENDED


def upload_of(document: dict[str, Any], location: str) -> Upload:
    """Read the answer to an upload and its header `Location`; what later versions add is passed over."""
    return Upload(document["request_id"], document["status"], location)


def request_of(document: dict[str, Any]) -> Request:
    """Read a status document."""
    images = document["images"]
    return Request(
        request_id=document["request_id"],
        status=document["status"],
        total=images["total"],
        succeeded=images["succeeded"],
        failed=images["failed"],
        rows=[_row(row) for row in document.get("details", [])],
        raw=document,
    )


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
    problems = [
        ApiProblem(entry.get("line"), entry.get("field", ""), entry.get("message", ""))
        for entry in document.get("errors") or []
    ]
    return ApiError(status, str(document.get("detail") or document.get("title") or ""), problems)
