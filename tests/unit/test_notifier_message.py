"""What a webhook says: the contract's words, the same bytes at every attempt, an id that signatures can hold."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from services.notifier.message import body, webhook_id

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
    assert json.loads(body({**REQUEST, "status": status}, "https://images.example.com")) == {
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


def test_every_attempt_says_the_same() -> None:
    """The bytes depend on the request alone, so a receiver may compare them."""
    assert body(REQUEST, "http://x") == body(dict(REQUEST), "http://x")


def test_the_id_names_request_and_run() -> None:
    """The same run has the same id for ever; a retry of the request is a run of its own; no dot ever stands in it."""
    assert webhook_id(REQUEST["_id"], 1) == "msg_6f1c1f0a6f3e4e0e9a590d8f7f0f4b57_1"
    assert webhook_id(REQUEST["_id"], 2) != webhook_id(REQUEST["_id"], 1)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", webhook_id("a.b:c/ü", 1))
