"""The list reads what it shows: whatever it is filtered by, no other request is looked at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from imagepress.documents import RequestStatus
from imagepress.mongo import Database
from services.ingest import queries

MANY = 2_000
LIMIT = 20
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def filled(database: Database) -> Database:
    """A database with 2,000 requests: every 50th failed, every 100th is the client `rare`'s."""
    await database.requests.insert_many(
        {
            "_id": f"{number:08}",
            "status": RequestStatus.FAILED if number % 50 == 0 else RequestStatus.COMPLETED,
            "created_at": BEGAN + timedelta(seconds=number),
            "client": "rare" if number % 100 == 0 else "busy",
        }
        for number in range(MANY)
    )
    return database


@pytest.mark.parametrize("status", [None, RequestStatus.FAILED, RequestStatus.CANCELLED])
@pytest.mark.parametrize("client", [None, "rare", "nobody"])
@pytest.mark.parametrize("before", [None, (BEGAN + timedelta(seconds=MANY // 2), "z")])
async def test_a_page_looks_at_no_more_requests_than_it_shows(
    filled: Database, status: RequestStatus | None, client: str | None, before: queries.Position | None
) -> None:
    """For each filter the page is the newest requests that match, and the index led to these and one more at most."""
    matching = [
        f"{number:08}"
        for number in reversed(range(MANY // 2 + 1 if before else MANY))
        if (status is None or (status == RequestStatus.FAILED and number % 50 == 0))
        and (client is None or (client == "rare" and number % 100 == 0))
    ]
    await filled.client[filled.requests.database.name].command("profile", 2)
    page = await queries.list_requests(filled, client=client, status=status, before=before, limit=LIMIT)
    await filled.client[filled.requests.database.name].command("profile", 0)
    assert [request["_id"] for request in page] == matching[:LIMIT]
    done: dict[str, Any] | None = await filled.requests.database["system.profile"].find_one(
        {"op": "query", "ns": filled.requests.full_name}
    )
    assert done is not None
    assert done["docsExamined"] <= len(page) + 1
    assert "hasSortStage" not in done
