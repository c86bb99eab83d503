"""What a webhook says (contract, "Webhook"): pure, so that every attempt says the same."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any


def webhook_id(request_id: str, run: int) -> str:
    """Return the `webhook-id` of a run: the same at every attempt, after every restart and redelivery.

    Without dots, which separate the parts of what is signed (Standard Webhooks 1.0.0).
    """
    return f"msg_{re.sub('[^A-Za-z0-9]', '', request_id)}_{run}"


def body(request: Mapping[str, Any], base_url: str) -> bytes:
    """Return the JSON that tells of a request's end; these very bytes are what is signed and sent."""
    request_id = request["_id"]
    message = {
        "type": f"request.{request['status']}",
        "timestamp": _iso(request["ended_at"]),
        "request_id": request_id,
        "status": request["status"],
        "images": request["images"],
        "data": {
            "status_url": f"{base_url}/api/status?request_id={request_id}",
            "result_url": f"{base_url}/api/requests/{request_id}/result.csv",
        },
    }
    return json.dumps(message, separators=(",", ":")).encode()


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
