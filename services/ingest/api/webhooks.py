"""`POST /api/webhook-test`: a receiver to try webhooks with, on this very service."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from services.ingest.problems import ProblemEntry, ProblemError, documented

router = APIRouter(tags=["webhooks"])

_EXAMPLE = {"request_id": "6f1c1f0a-6f3e-4e0e-9a59-0d8f7f0f4b57", "status": "completed"}
_BODY = {"required": True, "content": {"application/json": {"schema": {"type": "object"}, "example": _EXAMPLE}}}


class Received(BaseModel):
    """What the test receiver answers."""

    message: str = Field(examples=["Webhook received"])
    receivedPayload: dict[str, Any] = Field(examples=[_EXAMPLE])


@router.post(
    "/api/webhook-test",
    operation_id="webhookTest",
    summary="Receive a webhook and show it",
    response_model=Received,
    responses=documented(408, 413, 422),
    openapi_extra={"requestBody": _BODY},
)
async def webhook_test(request: Request) -> Response:
    """Answer with the JSON object that was sent."""
    payload = _parsed(await request.body())
    body = json.dumps({"message": "Webhook received", "receivedPayload": payload})
    return Response(body, media_type="application/json")


def _parsed(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`; what JSON (RFC 8259) does not know, such as NaN, is refused."""
    try:
        payload = json.loads(body)
        json.dumps(payload, allow_nan=False)  # 1e999 reads as infinity, which no JSON text can hold
    except (ValueError, RecursionError) as error:
        raise _refused(f"the body is not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise _refused("the body must be a JSON object, in braces")
    return payload


def _refused(message: str) -> ProblemError:
    return ProblemError(422, message, [ProblemEntry(line=None, field="body", message=message)])
