"""What became of webhooks, and sending them again: `GET /api/requests/{id}/webhook`, `POST …/redeliver`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from starlette.responses import Response

from imagepress.documents import ACTIVE, WebhookState, webhook_id
from imagepress.errors import ConflictError
from services.ingest import cursors, webhook_queries
from services.ingest.api.deps import Asking, Found, Service
from services.ingest.api.examples import REQUEST_ID
from services.ingest.problems import ProblemEntry, ProblemError, documented

router = APIRouter(tags=["webhooks"])

_MOMENT: Final = "2026-11-24T10:00:00.498000Z"


class Outcome(StrEnum):
    """What an attempt came to: `delivered` (any 2xx) or `failed` (everything else)."""

    DELIVERED = "delivered"
    FAILED = "failed"


class Attempt(BaseModel):
    """One POST."""

    number: int = Field(description="From 1, counted on over redeliveries", examples=[1])
    run: int = Field(description="The run of the request that it told about: a retry opens the next", examples=[1])
    at: datetime = Field(description="When its result was recorded", examples=[_MOMENT])
    outcome: Outcome
    status_code: int | None = Field(description="Null where there was no answer", examples=[200])
    latency_ms: int = Field(description="Until the status came, or the failure", examples=[38])
    error: str | None = Field(
        description="Why there was no answer, and why no further attempt follows", examples=[None]
    )
    answer: str = Field(description="The start of the answer's body", examples=["OK"])


class Webhook(BaseModel):
    """The webhook of a request's current run, without its attempts."""

    request_id: str = Field(examples=[REQUEST_ID])
    webhook_id: str = Field(
        description="The `webhook-id` header of this run, the same at every attempt",
        examples=[webhook_id(REQUEST_ID, 1)],
    )
    host: str = Field(description="Where it goes; the rest of the URL may hold secrets", examples=["hooks.example.com"])
    state: WebhookState = Field(
        description="`waiting` for the end of the run, `due`, `delivered` or `given_up`", examples=["delivered"]
    )
    tries: int = Field(description="Attempts for this run", examples=[1])
    next_attempt_at: datetime | None = Field(description="Null where none is due", examples=[None])
    settled_at: datetime | None = Field(description="When it was delivered or given up", examples=[_MOMENT])


class WebhookLog(Webhook):
    """The webhook of a request, with attempts, newest first."""

    attempts: list[Attempt]
    next: str | None = Field(description="The cursor of the next page, null on the last", examples=[None])


class Redelivered(BaseModel):
    """How many webhooks are sent again."""

    webhooks: int = Field(examples=[17])


def _with_webhook(request: Found) -> dict[str, Any]:
    """Return the request document that a path names. Raises 404 also where the request has no webhook."""
    if "webhook" not in request:
        raise ProblemError(404, "the request was uploaded without a webhook_url")
    return request


def _no_number(value: str) -> str:
    """Refuse what would be read as seconds since 1970: who writes `2026` means something else."""
    if re.fullmatch(r"\s*[-+]?[\d.]+\s*", value):
        raise ValueError("a date and a time are needed, such as 2026-11-24T10:00:00Z")
    return value


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError("lies beyond the first or the last year") from error


WithWebhook = Annotated[dict[str, Any], Depends(_with_webhook)]
Since = Annotated[
    datetime,
    BeforeValidator(_no_number),
    AfterValidator(_in_utc),
    Query(description="ISO 8601; UTC where it names no zone", examples=["2026-11-24T10:00:00Z"]),
]


@router.get(
    "/api/requests/{request_id}/webhook",
    operation_id="webhook",
    summary="State and attempts of a request's webhook",
    responses=documented(404, 422, 503),
)
async def webhook(
    service: Service,
    request: WithWebhook,
    response: Response,
    outcome: Annotated[Outcome | None, Query(description="Only such attempts")] = None,
    run: Annotated[int | None, Query(ge=1, le=2**31, description="Only attempts of this run")] = None,
    cursor: Annotated[str | None, Query(max_length=200, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Attempts to a page")] = 50,
) -> WebhookLog:
    """Return where the webhook stands, and its log; entries are kept for 90 days."""
    found = await webhook_queries.attempts_of(
        service.database,
        request["_id"],
        run=run,
        received=None if outcome is None else outcome is Outcome.DELIVERED,
        before=_position(cursor),
        limit=limit + 1,
    )
    page = found[:limit]
    more = cursors.encoded(page[-1]["at"], page[-1]["_id"]) if len(found) > limit else None
    response.headers["Cache-Control"] = "no-store"
    return WebhookLog(**_seen(request), attempts=[_attempt(one) for one in page], next=more)


@router.post(
    "/api/requests/{request_id}/webhook/redeliver",
    operation_id="redeliver",
    summary="Send a webhook again",
    responses=documented(404, 409, 422, 503),
)
async def redeliver(service: Service, request: WithWebhook) -> Webhook:
    """Begin the schedule anew, at once, for a webhook that was delivered or given up; its `webhook-id` stays."""
    again = await webhook_queries.redeliver(service.database, request["_id"], request["run"])
    if again is None:
        running = request["status"] in ACTIVE
        raise ConflictError("the request has not ended yet" if running else "the webhook is due already")
    return Webhook(**_seen(again))


@router.post(
    "/api/webhooks/redeliver",
    operation_id="redeliver_since",
    summary="Send all webhooks again that were given up",
    responses=documented(422, 503),
)
async def redeliver_since(service: Service, asking: Asking, since: Since) -> Redelivered:
    """Begin the schedule anew for every webhook given up since a moment: a receiver is well again after a long time."""
    return Redelivered(webhooks=await webhook_queries.redeliver_since(service.database, since, client=asking.client))


def _position(cursor: str | None) -> webhook_queries.Position | None:
    try:
        return cursors.decoded(cursor) if cursor else None
    except cursors.BadCursor as error:
        raise ProblemError(422, str(error), [ProblemEntry(line=None, field="cursor", message=str(error))]) from error


def _seen(request: dict[str, Any]) -> dict[str, Any]:
    webhook = request["webhook"]
    return {
        "request_id": request["_id"],
        "webhook_id": webhook_id(request["_id"], request["run"]),
        "next_attempt_at": webhook.get("next_attempt_at"),
        "settled_at": webhook.get("settled_at"),
        **{name: webhook[name] for name in ("host", "state", "tries")},
    }


def _attempt(document: dict[str, Any]) -> Attempt:
    code = document["status_code"]
    received = code is not None and 200 <= code < 300
    return Attempt(outcome=Outcome.DELIVERED if received else Outcome.FAILED, **document)
