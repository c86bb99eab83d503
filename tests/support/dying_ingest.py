"""The ingest service as it is, except that it kills itself with SIGKILL at a named step of an upload (rule 1)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from imagepress import transitions
from services.ingest import __main__ as ingest
from services.ingest import accepting, queries

Step = Callable[..., Awaitable[Any]]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def _dies(*_args: Any, **_kwargs: Any) -> None:
    _die()


def _after(step: Step, calls: int = 1) -> Step:
    left = calls

    async def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        result = await step(*args, **kwargs)
        left -= 1
        if not left:
            _die()
        return result

    return dying


async def _half_a_release(database: Any, request_id: str, run: int, **_kwargs: Any) -> None:
    """Make some of the batches pending, then die."""
    staged = {"request_id": request_id, "run": run, "status": "staged"}
    some = [row["_id"] async for row in database.batches.find(staged, {"_id": 1}).sort("_id", 1).limit(2)]
    await database.batches.update_many({"_id": {"$in": some}}, {"$set": {"status": "pending", "turn": 0}})
    _die()


def _plant(module: ModuleType, name: str, step: Step) -> None:
    setattr(module, name, step)


def arm(step: str) -> None:
    """Prepare the death at `step`."""
    match step:
        case "after the first chunk":
            accepting.CHUNK = 2  # type: ignore[misc]  # several chunks from a small file
            _plant(queries, "stage", _after(queries.stage))
        case "before the commit":
            _plant(queries, "commit", _dies)
        case "after the commit":
            _plant(queries, "commit", _after(queries.commit))
        case "in the release":
            _plant(transitions, "release", _half_a_release)
        case "after the release":
            _plant(transitions, "release", _after(transitions.release))
        case _:
            raise ValueError(step)


if __name__ == "__main__":
    arm(sys.argv[1])
    sys.exit(ingest.main())
