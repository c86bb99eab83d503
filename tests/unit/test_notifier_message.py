"""What a webhook says: the contract's words, and the same bytes at every attempt."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from imagepress.links import Links
from services.notifier.message import body

REQUEST: dict[str, Any] = {
    "_id": "6f1c1f0a-6f3e-4e0e-9a59-0d8f7f0f4b57",
    "run": 1,
    "status": "completed",
    "ended_at": datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
    "images": {"total": 3, "succeeded": 2, "failed": 1},
    "webhook": {"url": "https://user:hunter2@example.com/"},
}


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_the_body_is_that_of_the_contract(status: str) -> None:
    """Type, time of the end, id, status, counts of images and links: these and nothing else."""
    assert json.loads(body({**REQUEST, "status": status}, Links("https://images.example.com"))) == {
        "type": f"request.{status}",
        "timestamp": "2026-01-02T03:04:05.678Z",
        "request_id": REQUEST["_id"],
        "status": status,
        "images": {"total": 3, "succeeded": 2, "failed": 1},
        "data": {
            "status_url": f"https://images.example.com/api/status?request_id={REQUEST['_id']}",
            "result_url": f"https://images.example.com/api/requests/{REQUEST['_id']}/result.csv",
        },
    }


def test_the_link_to_the_result_is_signed_where_keys_are_asked_for() -> None:
    """A subscriber fetches the result without a key, until the link expires; the status needs one."""
    links = Links("http://x", b"secret")
    data = json.loads(body(REQUEST, links))["data"]
    parts = urlsplit(data["result_url"])
    query = parse_qs(parts.query)
    assert links.seconds_left(parts.path, query["expires"][0], query["signature"][0])
    assert data["status_url"] == f"http://x/api/status?request_id={REQUEST['_id']}"


def test_every_attempt_says_the_same() -> None:
    """The bytes depend on the request alone, so a receiver may compare them."""
    assert body(REQUEST, Links("http://x")) == body(dict(REQUEST), Links("http://x"))
