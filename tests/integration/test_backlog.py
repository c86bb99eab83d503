"""How much waits and for how long: what the sweeps tell the metrics, and what it costs the database."""

from __future__ import annotations

from typing import Any

from prometheus_client import REGISTRY

from imagepress import backlog
from imagepress.documents import BatchStatus, RequestStatus, WebhookState
from imagepress.mongo import Database
from services.ingest.settings import IngestSettings
from tests.conftest import MakeSettings
from tests.support.uploads import accepted

URLS = [f"http://127.0.0.1:9/{n}" for n in range(40)]
MINUTE_AGO = {"$dateSubtract": {"startDate": "$$NOW", "unit": "minute", "amount": 1}}


def _gauge(name: str, kind: str) -> float:
    value = REGISTRY.get_sample_value(f"imagepress_queue_{name}", {"kind": kind})
    assert value is not None
    return value


async def test_what_waits_is_counted_and_the_oldest_request_tells_its_age(
    database: Database, make_settings: MakeSettings
) -> None:
    """Pending batches count, others do not; the age is that of the longest unclaimed request, a retry's begins anew."""
    await backlog.note_batches(database)
    assert (_gauge("depth", "batch"), _gauge("oldest_seconds", "batch")) == (0, 0)
    begun, waiting = [await accepted(database, make_settings(IngestSettings), URLS) for _ in range(2)]
    await database.requests.update_many({}, [{"$set": {"woken_at": MINUTE_AGO}}])
    await database.requests.update_one({"_id": begun}, {"$set": {"status": RequestStatus.PROCESSING}})
    others = (BatchStatus.STAGED, BatchStatus.PROCESSING, BatchStatus.COMPLETED)
    for seq, status in enumerate(others):
        await database.batches.update_one({"request_id": begun, "seq": seq}, {"$set": {"status": status}})
    await backlog.note_batches(database)
    pending = await database.batches.count_documents({"status": BatchStatus.PENDING})
    assert _gauge("depth", "batch") == pending == await database.batches.count_documents({}) - len(others)
    assert 60 <= _gauge("oldest_seconds", "batch") < 120
    await database.requests.update_one({"_id": waiting}, {"$currentDate": {"woken_at": True}})  # as a retry does
    await backlog.note_batches(database)
    assert _gauge("oldest_seconds", "batch") < 10


async def test_due_webhooks_that_nobody_holds_are_counted(database: Database) -> None:
    """What is due counts; what is due later, held, delivered or waiting does not."""
    due: dict[str, Any] = {"state": WebhookState.DUE, "host": "h"}
    held = {**due, "lease": {"token": "t"}}
    webhooks = [due, due, held, {**due, "state": WebhookState.DELIVERED}, {**due, "state": WebhookState.WAITING}]
    await database.requests.insert_many([{"_id": str(n), "webhook": webhook} for n, webhook in enumerate(webhooks)])
    await database.requests.update_many({}, [{"$set": {"webhook.next_attempt_at": MINUTE_AGO}}])
    await database.requests.insert_one({"_id": "later", "webhook": due})
    await database.requests.update_one(
        {"_id": "later"},
        [{"$set": {"webhook.next_attempt_at": {"$dateAdd": {"startDate": "$$NOW", "unit": "hour", "amount": 1}}}}],
    )
    await backlog.note_webhooks(database)
    assert _gauge("depth", "webhook") == 2
    assert 60 <= _gauge("oldest_seconds", "webhook") < 120


async def test_counting_reads_no_batch(database: Database, make_settings: MakeSettings) -> None:
    """The count is answered by its index alone: a batch may be a megabyte."""
    await accepted(database, make_settings(IngestSettings), URLS)
    pipeline = [{"$match": {"status": BatchStatus.PENDING}}, {"$group": {"_id": 1, "n": {"$sum": 1}}}]
    command = {"aggregate": database.batches.name, "pipeline": pipeline, "cursor": {}, "hint": "pending"}
    database_of = database.client[database.batches.database.name]
    explained = await database_of.command("explain", command, verbosity="executionStats")
    text = str(explained)
    assert "'totalDocsExamined': 0" in text
    assert "'totalKeysExamined': 0" not in text
