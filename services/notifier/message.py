"""What is sent: body and headers of a webhook (contract, "Webhook"). Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from imagepress.signing import signature


@dataclass(frozen=True, slots=True)
class Claimed:
    """A due webhook that this notifier holds, until its lease ends."""

    request_id: str
    run: int
    token: str
    url: str
    host: str
    tries: int
    status: str
    ended_at: datetime
    images: dict[str, int]
    client: str | None


def claimed_from(request: dict[str, Any]) -> Claimed:
    """Read a request document whose webhook was claimed."""
    webhook = request["webhook"]
    return Claimed(
        request_id=request["_id"],
        run=request["run"],
        token=webhook["lease"]["token"],
        url=webhook["url"],
        host=webhook["host"],
        tries=webhook["tries"],
        status=request["status"],
        ended_at=request["ended_at"],
        images=request["images"],
        client=request.get("client"),
    )


def message_id(request_id: str, run: int) -> str:
    """Return the `webhook-id`: the same for every attempt of a run. Without dots, which separate what is signed."""
    return f"msg_{request_id}_{run}"


def body(webhook: Claimed, base_url: str) -> bytes:
    """Return the JSON text: made once, so that what is signed is what is sent."""
    document = {
        "type": f"request.{webhook.status}",
        "timestamp": webhook.ended_at.isoformat().replace("+00:00", "Z"),
        "request_id": webhook.request_id,
        "status": webhook.status,
        "images": webhook.images,
        "data": {
            "status_url": f"{base_url}/api/status?request_id={webhook.request_id}",
            "result_url": f"{base_url}/api/requests/{webhook.request_id}/result.csv",
        },
    }
    return json.dumps(document).encode()


def headers(webhook: Claimed, content: bytes, *, now: datetime, secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers of an attempt made at `now` (UTC); signed if there are secrets."""
    identity = message_id(webhook.request_id, webhook.run)
    found = {
        "Content-Type": "application/json",
        "webhook-id": identity,
        "webhook-timestamp": str(int(now.timestamp())),
    }
    if secrets:
        found["webhook-signature"] = signature(secrets, identity, now, content)
    return found
