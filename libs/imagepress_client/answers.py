"""How an answer is read: pure, shared by both clients."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from imagepress_client.events import Event
from imagepress_client.model import Request, Unreachable, Upload, error_of, request_of, upload_of

Progress = Callable[[Request], None]


def document(answer: httpx.Response) -> Any:
    """Return the JSON document of an answer. Raises `ApiError` for anything but 2xx, or for no JSON at all."""
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not answer.is_success or found is None:
        raise error_of(answer.status_code, found)
    return found


def check(answer: httpx.Response) -> None:
    """Raise `ApiError` for anything but 2xx; the body has been read."""
    if not answer.is_success:
        document(answer)


def uploaded(answer: httpx.Response) -> Upload:
    """Return the accepted upload. Raises `ApiError`."""
    return upload_of(document(answer), answer.headers.get("Location", ""))


def has_events(answer: httpx.Response) -> bool:
    """Tell whether an answer is live progress, and not a refusal or the page of a proxy."""
    return answer.status_code == 200 and answer.headers.get("Content-Type", "").startswith("text/event-stream")


def progress_of(event: Event) -> Request | None:
    """Return the status that an event tells of, None for other events."""
    return request_of(json.loads(event.data)) if event.name == "progress" else None


def has_not_ended(request_id: str, seconds: float) -> TimeoutError:
    """Return the error for a request that takes longer than is waited for."""
    return TimeoutError(f"request {request_id} has not ended within {seconds:g} s")


def unreachable(error: httpx.TransportError) -> Unreachable:
    """Return our own error for one of the HTTP library's, which may have no words."""
    return Unreachable(str(error) or type(error).__name__)


def partial(target: Path) -> Path:
    """Return the file that a download is written to until it is whole."""
    return target.with_name(f"{target.name}.part")
