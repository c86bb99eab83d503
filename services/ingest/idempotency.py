"""`Idempotency-Key`: the same upload twice, since an answer was lost on its way, is one request.

A key is noted after the batches of an upload are staged and right before its commit, as a document of its own whose
`_id` is client and key: so whoever is first has it, on every replica, and a sharded collection can do it too. From
there on nothing waits for anybody, and it does not matter who lives:

* The noted request exists: it is the answer, for the first call and for every later one.
* It does not, but its batches are staged: its process died between note and commit, or is about to commit. Whoever
  comes commits *that* request, all of which is there. The commit of a request happens once, whoever tries.
* It does not, and nothing of it is staged: it was deleted at its client's wish, or the sweep took it for dead. The key
  is taken over for the upload at hand.

A process that dies before the note leaves staged batches and no key: the next call begins anew. What was refused (422)
uses no key up. Keys are kept for a day. The same key with another body is refused: with another file, or other options.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from imagepress.documents import COMMITTED_WITHIN_SECONDS, BatchStatus
from imagepress.driver_errors import translated, translates
from imagepress.errors import ConflictError
from imagepress.mongo import Database

_PIECE_BYTES: Final = 1_000_000


class KeyReused(ConflictError):
    """This Idempotency-Key came with another upload before: a file or an option differs."""


@dataclass(frozen=True, slots=True)
class Key:
    """A client's key, and what came with it."""

    id: str
    fingerprint: str


def key_of(client: str | None, key: str, file: BinaryIO, options: dict[str, Any]) -> Key:
    """Return the key of an upload; reads the whole `file`, so call it in a thread."""
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    file.seek(0)
    while piece := file.read(_PIECE_BYTES):
        digest.update(piece)
    return Key(f"{client or ''}/{key}", digest.hexdigest())


async def accepted_before(database: Database, key: Key) -> str | None:
    """Return the request that was accepted under this key, None where there is none. Raises `KeyReused`."""
    owner = await _owner(database, key)
    return owner if owner and await _exists(database, owner) else None


async def note(database: Database, key: Key, request_id: str) -> str:
    """Note that a request, all staged, is about to be committed; return the one to commit, which may be another's.

    Raises `KeyReused`.
    """
    while not await _is_first(database, key, request_id):
        owner = await _owner(database, key)
        if owner is None:
            continue  # its day was over in this moment
        # In this order: what is not staged any more, and was not deleted, has been committed before.
        staged = await _is_staged(database, owner)
        if await _exists(database, owner) or (staged and await _is_young(database, key)):
            return owner
        if await _taken_over(database, key, owner, request_id):
            return request_id
    return request_id


async def _is_first(database: Database, key: Key, request_id: str) -> bool:
    try:
        with translated():
            await database.idempotency.update_one(
                {"_id": key.id, "fingerprint": {"$exists": False}},
                {
                    "$set": {"fingerprint": key.fingerprint, "request_id": request_id},
                    "$currentDate": {"created_at": True},
                },
                upsert=True,
            )
    except ConflictError:
        return False
    return True


@translates
async def _owner(database: Database, key: Key) -> str | None:
    found = await database.idempotency.find_one({"_id": key.id})
    if found and found["fingerprint"] != key.fingerprint:
        raise KeyReused
    return str(found["request_id"]) if found else None


@translates
async def _exists(database: Database, request_id: str) -> bool:
    """Whether a request was committed; also one that its client has had removed since, for as long as it is there."""
    return await database.requests.find_one({"_id": request_id}, {"_id": 1}) is not None


@translates
async def _is_staged(database: Database, request_id: str) -> bool:
    staged = {"request_id": request_id, "status": BatchStatus.STAGED}
    return await database.batches.find_one(staged, {"_id": 0, "status": 1}, hint="recount") is not None


@translates
async def _is_young(database: Database, key: Key) -> bool:
    """Whether what a key was noted for may still be committed."""
    oldest = {"$dateSubtract": {"startDate": "$$NOW", "unit": "second", "amount": COMMITTED_WITHIN_SECONDS}}
    young = {"_id": key.id, "$expr": {"$gt": ["$created_at", oldest]}}
    return await database.idempotency.find_one(young, {"_id": 1}) is not None


@translates
async def _taken_over(database: Database, key: Key, owner: str, request_id: str) -> bool:
    """Give a key to another request than `owner`; return whether nobody else was first."""
    changes = {"$set": {"request_id": request_id}, "$currentDate": {"created_at": True}}
    taken = await database.idempotency.update_one({"_id": key.id, "request_id": owner}, changes)
    return bool(taken.modified_count)
