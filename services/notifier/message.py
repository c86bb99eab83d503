"""What a webhook says (contract, "Webhook"): pure, so that every attempt says the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any


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
