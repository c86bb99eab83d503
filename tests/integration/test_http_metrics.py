"""Every answer of the API is counted by operation and status, and timed."""

from __future__ import annotations

import uuid

from prometheus_client import REGISTRY

from imagepress.mongo import Database
from services.ingest.settings import IngestSettings
from tests.conftest import MakeSettings
from tests.support.api import serving


def _counted(operation: str, status: str) -> float:
    labels = {"operation": operation, "status": status}
    return REGISTRY.get_sample_value("imagepress_http_answers_total", labels) or 0.0


def _timed(operation: str) -> float:
    return REGISTRY.get_sample_value("imagepress_http_seconds_count", {"operation": operation}) or 0.0


async def test_answers_count_for_their_operation_whatever_the_url(
    database: Database, make_settings: MakeSettings
) -> None:
    """Two unknown requests are one series; what no route knows, and what the gate refuses, counts as well."""
    assert database is not None
    settings = make_settings(IngestSettings, api_keys="shop:0123456789abcdef0123456789abcdef")
    before = _counted("status", "404"), _timed("status"), _counted("none", "401")
    async with serving(settings) as api:
        for _ in range(2):
            await api.get(
                "/api/status",
                params={"request_id": str(uuid.uuid4())},
                headers={"X-API-Key": "0123456789abcdef0123456789abcdef"},
            )
        await api.get("/api/status", params={"request_id": str(uuid.uuid4())})
    assert (_counted("status", "404"), _timed("status"), _counted("none", "401")) == (
        before[0] + 2,
        before[1] + 2,
        before[2] + 1,
    )
