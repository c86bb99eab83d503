"""How soon webhooks arrive, how fast a backlog drains, and what a slow subscriber costs the others (issue 5).

One real notifier process with its default settings, and receivers under several loopback addresses: to the notifier
an address is a host of its own. The receivers, the database and whoever ends the requests share the machine with it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

from imagepress.documents import SCHEMA, BatchStatus, RequestStatus, WebhookState, batch_id
from imagepress.mongo import Database, server_time
from imagepress.transitions import end_if_done
from tests.bench.system import Bench, p50, p95
from tests.support.notifying import ended
from tests.support.origin import dripping, silent
from tests.support.processes import eventually
from tests.support.receiver import Receiver, serve_receiver

HEALTHY = [f"127.0.0.{n}" for n in range(1, 9)]
DRIPPING, BLOCKED = "127.0.1.{}", "127.0.2.{}"
"""By the round: no host of a round is known to the notifier from another."""

PER_SECOND = 50
COMPLETIONS = 1000
"""Of one measurement: 20 seconds, in which the breaker of the blocked host opens as well (after 15)."""
WARM_UP = 50

DUE = 2000
ROUNDS = 3
HANGING, BEHIND_THE_BLOCK = 200, 10_000
OVERDUE_SECONDS = 600
FOUND_SECONDS = 60
"""More than SWEEP_SECONDS, the longest until a notifier finds what came due long ago."""


async def measure(bench: Bench) -> dict[str, float]:
    """Measure a backlog, then, by turns, at rest and beside hosts that hang.

    Delays count from `ended_at`, which the database writes with the end of the run: no client could be told before.
    The impact is the median of the rounds' ratios, since a machine with other guests is not equally fast all the time.
    """
    async with (
        bench.database() as database,
        serving(HEALTHY) as receivers,
        bench.running("notifier", DRAIN_SECONDS="1"),  # ends first: receivers then see that their callers hung up
    ):
        await _delays(database, receivers, WARM_UP)
        rates = [await _drain(database, receivers) for _ in range(ROUNDS)]
        rounds = [await _round(database, receivers, number) for number in range(1, ROUNDS + 1)]
    calm = [delay for at_rest, _ in rounds for delay in at_rest]
    beside = [delay for _, beside_slow in rounds for delay in beside_slow]
    return {
        "webhook_p50_ms": p50(calm),
        "webhook_p95_ms": p95(calm),
        "webhook_drain_per_s": p50(rates),
        "webhook_beside_slow_p95_ms": p95(beside),
        "slow_subscriber_impact": p50([p95(beside_slow) / p95(at_rest) for at_rest, beside_slow in rounds]),
    }


async def _round(
    database: Database, receivers: list[tuple[str, Receiver]], number: int
) -> tuple[list[float], list[float]]:
    """Return the delays of healthy receivers at rest, and then beside hosts that hang."""
    await _delays(database, receivers, WARM_UP)
    at_rest = await _delays(database, receivers, COMPLETIONS)
    async with _troubled(database, DRIPPING.format(number), BLOCKED.format(number)):
        beside_slow = await _delays(database, receivers, COMPLETIONS)
    print(f"round {number}: p95 {p95(at_rest):.1f} ms at rest, {p95(beside_slow):.1f} ms beside slow ones", flush=True)
    return at_rest, beside_slow


@asynccontextmanager
async def serving(hosts: Sequence[str]) -> AsyncIterator[list[tuple[str, Receiver]]]:
    """Yield a receiver for each of `hosts` that answers 200, with its host."""
    async with AsyncExitStack() as stack:
        yield [(host, await stack.enter_async_context(serve_receiver(host=host))) for host in hosts]


async def _delays(database: Database, receivers: list[tuple[str, Receiver]], number: int) -> list[float]:
    """End `number` requests, `PER_SECOND`; return the milliseconds from each one's end to the receipt of its webhook.

    Raises `TimeoutError` where one does not arrive, `AssertionError` where one arrives twice.
    """
    ids = await _about_to_end(database, [r.url("/", host) for host, r in receivers], number)
    _forget(receivers)
    clock = asyncio.get_running_loop().time
    began = clock()
    async with asyncio.TaskGroup() as tasks:
        for n, request_id in enumerate(ids):
            await asyncio.sleep(began + n / PER_SECOND - clock())
            tasks.create_task(_end(database, request_id))
    await _until_received(receivers, number)
    at = {call.json["request_id"]: call.at for _, receiver in receivers for call in receiver.received}
    assert len(at) == number
    found = database.requests.find({"_id": {"$in": ids}}, {"ended_at": 1})
    return [(at[row["_id"]] - row["ended_at"].timestamp()) * 1000 async for row in found]


async def _end(database: Database, request_id: str) -> None:
    assert await end_if_done(database, request_id, 1)


async def _about_to_end(database: Database, urls: list[str], number: int) -> list[str]:
    """Store requests whose last batch is completed, as a watcher leaves them just before it ends them."""
    ids = [str(uuid.uuid4()) for _ in range(number)]
    now = await server_time(database)
    webhooks = [
        {"url": urls[n % len(urls)], "host": HEALTHY[n % len(urls)], "state": WebhookState.WAITING, "tries": 0}
        for n in range(number)
    ]
    await database.requests.insert_many(
        {
            "_id": request_id,
            "schema": SCHEMA,
            "run": 1,
            "status": RequestStatus.PROCESSING,
            "created_at": now,
            "woken_at": now,
            "released_run": 1,
            "images": {"total": 1, "succeeded": 1, "failed": 0},
            "bytes": {"input": 10, "output": 5},
            "webhook": webhook,
        }
        for request_id, webhook in zip(ids, webhooks, strict=True)
    )
    await database.batches.insert_many(
        {
            "_id": batch_id(request_id, 0),
            "request_id": request_id,
            "status": BatchStatus.COMPLETED,
            "succeeded": 1,
            "failed": 0,
            "bytes_in": 10,
            "bytes_out": 5,
        }
        for request_id in ids
    )
    return ids


async def _drain(database: Database, receivers: list[tuple[str, Receiver]]) -> float:
    """Let `DUE` webhooks come due in one moment; return how many a second are delivered, recorded included."""
    _forget(receivers)
    later = await server_time(database) + timedelta(hours=1)
    each = DUE // len(receivers)
    ids = [
        request_id
        for host, receiver in receivers
        for request_id in await ended(database, receiver.url("/", host), count=each, next_attempt_at=later)
    ]
    ours = {"_id": {"$in": ids}}
    await database.requests.update_many(ours, [{"$set": {"webhook.next_attempt_at": "$$NOW"}}])
    await database.requests.update_one({"_id": ids[0]}, {"$currentDate": {"woken_at": True}})
    began = await server_time(database)

    async def are_delivered() -> bool:
        return await database.requests.count_documents({**ours, "webhook.state": WebhookState.DELIVERED}) == len(ids)

    await eventually(are_delivered, 120)
    assert sum(len(receiver.received) for _, receiver in receivers) == len(ids)
    last = await database.requests.find_one(ours, {"woken_at": 1}, sort=[("woken_at", -1)])
    assert last is not None
    done: datetime = last["woken_at"]
    return len(ids) / (done - began.replace(tzinfo=UTC)).total_seconds()


@asynccontextmanager
async def _troubled(database: Database, dripping_host: str, blocked_host: str) -> AsyncIterator[None]:
    """Have webhooks hang at a host whose answers drip and at one that never answers; forget them at the end."""
    async with serve_receiver(dripping(1.0), dripping_host) as slow, serve_receiver(silent(), blocked_host) as blocked:
        await _overdue(database, blocked.url("/", blocked_host), BEHIND_THE_BLOCK)
        await _overdue(database, slow.url("/", dripping_host), HANGING)

        async def both_hang() -> bool:
            return bool(slow.received and blocked.received)

        await eventually(both_hang, FOUND_SECONDS)
        yield
        await database.requests.delete_many({"webhook.host": {"$in": [dripping_host, blocked_host]}})


async def _overdue(database: Database, url: str, count: int) -> None:
    """Store webhooks that came due one after the other: equal times would be one place in the claim's index."""
    ids = await ended(database, url, count=count, next_attempt_at=await server_time(database) + timedelta(hours=1))
    ago = {"$toLong": {"$multiply": [{"$rand": {}}, OVERDUE_SECONDS * 1000]}}
    came_due = {"$set": {"webhook.next_attempt_at": {"$subtract": ["$$NOW", ago]}, "woken_at": "$$NOW"}}
    await database.requests.update_many({"_id": {"$in": ids}}, [came_due])


def _forget(receivers: list[tuple[str, Receiver]]) -> None:
    for _, receiver in receivers:
        receiver.received.clear()


async def _until_received(receivers: list[tuple[str, Receiver]], number: int) -> None:
    async def all_are() -> bool:
        return sum(len(receiver.received) for _, receiver in receivers) >= number

    await eventually(all_are, 60)
