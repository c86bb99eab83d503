"""Leases on real documents: one holder, fenced writes, the database's clock."""

from __future__ import annotations

import asyncio
from typing import Any

from imagepress import leases
from imagepress.mongo import Database

FREE: dict[str, Any] = {"status": "pending", "turn": {"$gte": 0}}
TAKE: dict[str, Any] = {"status": "processing"}
FREE_AGAIN: dict[str, Any] = {"status": "pending"}


async def _insert(database: Database, *ids: str) -> None:
    await database.batches.insert_many([{"_id": id_, "status": "pending", "turn": n} for n, id_ in enumerate(ids)])


async def _claim(database: Database, worker: str = "w", seconds: float = 60) -> dict[str, Any] | None:
    return await leases.claim(
        database.batches,
        path="lease",
        free=FREE,
        sort=[("turn", 1), ("_id", 1)],
        worker=worker,
        seconds=seconds,
        changes=TAKE,
        hint="claim",
    )


def _held(*claimed: dict[str, Any] | None) -> dict[str, str]:
    return {document["_id"]: document["lease"]["token"] for document in claimed if document}


async def test_claims_go_by_turn_and_each_document_goes_to_one_claimer(database: Database) -> None:
    """Many claimers at once take every free document exactly once, lowest turn first, and then find none."""
    await _insert(database, *(f"b{n:03}" for n in range(40)))
    first = await _claim(database)
    assert first is not None
    assert first["_id"] == "b000"
    rest = await asyncio.gather(*(_claim(database) for _ in range(50)))
    taken = [document["_id"] for document in rest if document]
    assert sorted(taken) == [f"b{n:03}" for n in range(1, 40)]
    assert len({token for document in rest for token in _held(document).values()}) == 39


async def test_a_worker_name_that_looks_like_a_field_is_stored_as_text(database: Database) -> None:
    """A pipeline does not evaluate the name of a worker."""
    await _insert(database, "b0")
    claimed = await _claim(database, worker="$status")
    assert claimed is not None
    assert claimed["lease"]["worker"] == "$status"


async def test_extend_tells_which_leases_were_lost(database: Database) -> None:
    """Extending reports the ids still held, and moves only their end."""
    await _insert(database, "b0", "b1")
    one, two = await _claim(database), await _claim(database)
    assert one is not None
    assert two is not None
    held = {**_held(one), two["_id"]: "stolen"}
    assert await leases.extend(database.batches, path="lease", held=held, seconds=3600) == {"b0"}
    after = await database.batches.find_one({"_id": "b0"})
    untouched = await database.batches.find_one({"_id": "b1"})
    assert after is not None
    assert untouched is not None
    assert after["lease"]["expires_at"] > one["lease"]["expires_at"]
    assert untouched["lease"]["expires_at"] == two["lease"]["expires_at"]


async def test_tokens_of_two_documents_are_not_interchangeable(database: Database) -> None:
    """A token of one batch does not extend another that happens to be in the same list."""
    await _insert(database, "b0", "b1")
    one, two = await _claim(database), await _claim(database)
    assert one is not None
    assert two is not None
    swapped = {"b0": two["lease"]["token"], "b1": one["lease"]["token"]}
    assert await leases.extend(database.batches, path="lease", held=swapped, seconds=60) == set()


async def test_release_frees_only_what_is_still_held(database: Database) -> None:
    """A lost lease cannot be given back: the document stays with its new holder."""
    await _insert(database, "b0")
    mine = await _claim(database)
    await database.batches.update_one({"_id": "b0"}, {"$set": {"lease.token": "somebody else"}})
    released = await leases.release(database.batches, path="lease", held=_held(mine), changes=FREE_AGAIN)
    assert released == 0
    document = await database.batches.find_one({"_id": "b0"})
    assert document is not None
    assert document["status"] == "processing"


async def test_expire_returns_dead_leases_and_no_others(database: Database) -> None:
    """Only leases that ended by the database's clock are returned; documents without a lease are left alone."""
    await _insert(database, "b0", "b1", "b2")
    await _claim(database, seconds=-1)
    await _claim(database, seconds=3600)
    expired = await leases.expire(database.batches, path="lease", changes=FREE_AGAIN)
    assert [document["_id"] for document in expired] == ["b0"]
    states = [(row["_id"], row["status"], "lease" in row) async for row in database.batches.find().sort("_id", 1)]
    assert states == [("b0", "pending", False), ("b1", "processing", True), ("b2", "pending", False)]


async def test_claim_many_takes_in_order_and_never_twice(database: Database) -> None:
    """Two claimers of many share the free documents between them without overlap."""
    await _insert(database, *(f"b{n:02}" for n in range(20)))

    async def many() -> set[str]:
        taken = await leases.claim_many(
            database.batches,
            path="lease",
            free={**FREE, "lease.token": None},
            sort=[("turn", 1)],
            worker="w",
            seconds=60,
            limit=10,
            hint="claim",
            fields={"_id": 1},
            choose=lambda rows: [row["_id"] for row in rows],
        )
        return {document["_id"] for document in taken}

    one, two = await asyncio.gather(many(), many())
    assert not one & two
    assert "b00" in one | two
