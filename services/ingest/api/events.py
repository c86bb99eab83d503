"""`GET /api/requests/{id}/events`: a request's progress as it happens, by server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from services.ingest.api.deps import Counted, Service
from services.ingest.api.examples import SUMMARY
from services.ingest.problems import documented

router = APIRouter(tags=["requests"])


RETRY_MS: Final = 1000
"""When a listener comes back whose connection broke: soon, since it is told one state and not all that it missed."""

_EXAMPLE: Final = f"event: progress\ndata: {json.dumps(SUMMARY)}\nid: 5f3c01c2a1b0d9e8\n\nevent: end\ndata: …\n\n"


@router.get(
    "/api/requests/{request_id}/events",
    operation_id="events",
    summary="Live progress of a request",
    response_class=EventSourceResponse,
    responses={
        200: {"description": "Events", "content": {"text/event-stream": {"example": _EXAMPLE}}},
        **documented(404, 422, 503),
    },
)
async def events(
    service: Service,
    request: Counted,
    last_event_id: Annotated[
        str | None, Header(max_length=200, description="The last event seen, before the connection broke")
    ] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Send an event `progress` with the status (without rows) now and at each change, and `end` when all is done.

    Counts move about once a second while images finish. Comments keep an idle connection open. A connection that
    closes without `end` broke, or its service stopped: connect again.
    """
    seen = last_event_id
    async for state in service.live.follow(request):
        if state.id != seen:
            yield ServerSentEvent(event="progress", raw_data=state.text, id=state.id, retry=RETRY_MS)
            seen = state.id
        if state.ended:
            yield ServerSentEvent(event="end", raw_data=state.text)
