"""What the driver raises, as our own: whatever speaks to MongoDB is decorated, or does so within `translated`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)

from imagepress.errors import ConflictError, DatabaseUnavailable, PermanentError

Params = ParamSpec("Params")
Result = TypeVar("Result")

# Codes of servers that step down, shut down, start up, are too busy, or have no snapshot since an index was just built:
# another try finds another state.
# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
_TRANSIENT_CODES = frozenset({6, 7, 24, 50, 64, 89, 91, 112, 133, 134, 136, 189, 202, 262, 290, 365, 384, 10107, 11600})
_TRANSIENT_CODES |= {239, 246, 9001, 11602, 13388, 13435, 13436}


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into ours: transient, conflict or permanent."""
    try:
        yield
    except DuplicateKeyError as error:
        raise ConflictError(str(error)) from error
    except PyMongoError as error:
        if is_transient(error):
            raise DatabaseUnavailable(f"MongoDB cannot be reached right now: {brief(error)}") from error
        raise PermanentError(f"MongoDB refused: {brief(error)}") from error


def translates(function: Callable[Params, Awaitable[Result]]) -> Callable[Params, Awaitable[Result]]:
    """Decorate an async function that speaks to MongoDB: its driver errors leave as ours (see `translated`)."""

    @wraps(function)
    async def wrapper(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        with translated():
            return await function(*args, **kwargs)

    return wrapper


def is_transient(error: PyMongoError) -> bool:
    """Tell whether the same operation may succeed later (connection lost, no primary, stepping down, too slow)."""
    if isinstance(error, ConnectionFailure | WTimeoutError):
        return True
    if error.has_error_label("RetryableWriteError") or error.has_error_label("TransientTransactionError"):
        return True
    if isinstance(error, BulkWriteError):  # its own code is always 65; what happened stands in its lists
        details = error.details or {}
        problems = [*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())]
        return bool(problems) and all(problem.get("code") in _TRANSIENT_CODES for problem in problems)
    return isinstance(error, OperationFailure) and error.code in _TRANSIENT_CODES


def brief(error: Exception) -> str:
    """Return the driver's message without its dump of the topology, which repeats host names at length."""
    return str(error).split(", Timeout:")[0].split(", full error:")[0][:300]
