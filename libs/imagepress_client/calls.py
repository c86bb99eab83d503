"""What each call asks of the service: pure, shared by both clients, which differ in waiting only."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import httpx

from imagepress_client.model import Status

TIMEOUT_SECONDS: Final = 60.0
CONNECT_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 45.0
"""Live progress that is silent for longer has been lost on the way: the service says something every few seconds."""
POLL_SECONDS: Final = 0.5

ImageFormat = Literal["jpeg", "webp", "avif"]
OnError = Literal["reject", "skip"]


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is read and its images are compressed; None leaves it to the service (see its `/docs`)."""

    quality: int | None = None
    format: ImageFormat | None = None
    max_width: int | None = None
    on_error: OnError | None = None
    encoding: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A call: `target` is a path of the service, or a whole link; `repeatable`: twice is the same as once.

    `follows`: an answer may lead on to another address.
    """

    method: str
    target: str
    query: dict[str, str] = field(default_factory=dict)
    form: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    file: Path | None = None
    repeatable: bool = True
    follows: bool = False


def upload(csv: Path, webhook_url: str | None, options: Options, idempotency_key: str | None) -> Call:
    """Upload a file. The key makes it repeatable: the service answers the same call with the same request."""
    wishes = {
        "webhook_url": webhook_url,
        "quality": options.quality,
        "format": options.format,
        "max_width": options.max_width,
        "on_error": options.on_error,
        "encoding": options.encoding,
    }
    form = {name: str(value) for name, value in wishes.items() if value is not None}
    key = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    return Call("POST", "/api/upload", form=form, headers=key, file=csv)


def status(request_id: str, offset: int | None, rows: int | None) -> Call:
    """Ask for a request and its rows, or for `rows` of them from `offset`."""
    return Call("GET", "/api/status", {"request_id": request_id, **_given(offset=offset, limit=rows)})


def listing(wanted: Status | None, cursor: str | None, limit: int | None) -> Call:
    """Ask for a page of the list of requests."""
    return Call("GET", "/api/requests", _given(status=wanted, cursor=cursor, limit=limit))


def events(request_id: str) -> Call:
    """Ask for live progress."""
    return Call("GET", f"{_of(request_id)}/events", headers={"Accept": "text/event-stream"})


def webhook(request_id: str) -> Call:
    """Ask what became of the webhook."""
    return Call("GET", f"{_of(request_id)}/webhook")


def command(request_id: str, name: Literal["cancel", "retry", "webhook/redeliver"]) -> Call:
    """Ask the service to do something. A second time it would be refused, or done twice."""
    return Call("POST", f"{_of(request_id)}/{name}", repeatable=False)


def remove(request_id: str) -> Call:
    """Ask to forget a request. A second time there is none."""
    return Call("DELETE", _of(request_id), repeatable=False)


def download(request_id: str, name: Literal["result.csv", "images.zip"]) -> Call:
    """Ask for what came of a request."""
    return Call("GET", f"{_of(request_id)}/{name}")


def link(url: str) -> Call:
    """Follow a link of the service's to an image, which may lead on to its object store."""
    return Call("GET", url, follows=True)


def headers_of(call: Call, api_key: str | None) -> dict[str, str]:
    """Return the headers to send. A link may lead to another host, which must not learn the key; it needs none."""
    own = call.target.startswith("/") and api_key
    return call.headers | ({"Authorization": f"Bearer {api_key}"} if own else {})


def timeout(read: float = TIMEOUT_SECONDS) -> httpx.Timeout:
    """Return how long each step of a call may take, in seconds."""
    return httpx.Timeout(TIMEOUT_SECONDS, read=read, connect=CONNECT_SECONDS)


def _of(request_id: str) -> str:
    """Return the path of a request; an id that is none must not lead elsewhere. Raises `ValueError`."""
    return f"/api/requests/{uuid.UUID(request_id)}"


def _given(**values: str | int | None) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}
