"""What a webhook says (contract, "Webhook"): pure, so that every attempt says the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from imagepress.links import Links


def body(request: Mapping[str, Any], links: Links) -> bytes:
    """Return the JSON that tells of a request's end; these very bytes are what is signed and sent."""
    request_id = request["_id"]
    message = {
        "type": f"request.{request['status']}",
        "timestamp": _iso(request["ended_at"]),
        "request_id": request_id,
        "status": request["status"],
        "images": request["images"],
        "data": {
            "status_url": links.status(request_id),
            "result_url": links.result_csv(request_id),
        },
    }
    return json.dumps(message, separators=(",", ":")).encode()


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
