"""What a client does, in the words of the tests: upload, look, wait for the end."""

from __future__ import annotations

import ssl
from typing import Any, Final

import httpx

from tests.support.processes import Service, eventually

ENDED = ("completed", "failed", "cancelled")

_CERTIFICATES: Final = ssl.create_default_context()
"""Loaded once: each client would load its own, which takes more of the CPU than a small upload does."""


def client(base_url: str = "") -> httpx.AsyncClient:
    """Return a client for a few calls, to be closed."""
    return httpx.AsyncClient(base_url=base_url, timeout=60, verify=_CERTIFICATES)


async def upload(ingest: Service, content: bytes, webhook_url: str | None = None) -> str:
    """Upload a CSV; return the request id."""
    form = {"webhook_url": webhook_url} if webhook_url else {}
    async with client(ingest.url) as calling:
        answer = await calling.post("/api/upload", files={"file": ("c.csv", content)}, data=form)
    assert answer.status_code == 200, answer.text
    request_id: str = answer.json()["request_id"]
    return request_id


async def status_of(ingest: Service, request_id: str) -> dict[str, Any]:
    """Return the status as the API shows it."""
    async with client(ingest.url) as calling:
        answer = await calling.get("/api/status", params={"request_id": request_id})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def until_ended(ingest: Service, request_id: str, seconds: float = 60) -> dict[str, Any]:
    """Wait until the request has ended; return its status."""

    async def has_ended() -> bool:
        return (await status_of(ingest, request_id))["status"] in ENDED

    await eventually(has_ended, seconds)
    return await status_of(ingest, request_id)
