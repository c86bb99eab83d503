"""The notifier service as it is, except that it kills itself with SIGKILL at a named step of a delivery (rule 5)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from motor.motor_asyncio import AsyncIOMotorCollection

from services.notifier import __main__ as notifier
from services.notifier.send import Sender

Step = Callable[..., Awaitable[Any]]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _before(_step: Step) -> Step:
    async def dying(*_args: Any, **_kwargs: Any) -> None:
        _die()

    return dying


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


STEPS: Final[dict[str, tuple[type, str, Callable[[Step], Step]]]] = {
    "in the claim": (AsyncIOMotorCollection, "update_many", _after),
    "before the POST": (Sender, "send", _before),
    "after the POST": (Sender, "send", _after),
    "in the record": (AsyncIOMotorCollection, "bulk_write", _after),
    "after the record": (AsyncIOMotorCollection, "bulk_write", partial(_after, calls=2)),
}
"""What to die at. A claim is an update of many and a look at what was got; a record is one bulk write for the attempts
and another for the states. The test sees in the database that these are the moments meant."""


def arm(step: str) -> None:
    """Prepare the death at `step`. Raises `KeyError` where it is not in `STEPS`."""
    owner, name, deadly = STEPS[step]
    setattr(owner, name, deadly(getattr(owner, name)))


if __name__ == "__main__":
    arm(sys.argv[1])
    sys.exit(notifier.main())
