"""The opaque cursor of the list of requests: behind which request the next page begins."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from imagepress.errors import PermanentError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS: Final = 253_402_300_799_999  # the end of the year 9999, the last that a datetime can hold
_LONGEST_ID: Final = 64


class BadCursor(PermanentError):
    """The cursor is not one that a list of requests answered with."""


def encoded(created_at: datetime, request_id: str) -> str:
    """Return the cursor of the page behind a request; MongoDB keeps times to the millisecond."""
    milliseconds = (created_at - _EPOCH) // timedelta(milliseconds=1)
    return base64.urlsafe_b64encode(json.dumps([milliseconds, request_id]).encode()).decode()


def decoded(cursor: str) -> tuple[datetime, str]:
    """Return when the request before the page was created, and its id. Raises `BadCursor` for anything else."""
    try:
        value = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise BadCursor(BadCursor.__doc__) from error
    if not _is_position(value):
        raise BadCursor(BadCursor.__doc__)
    return _EPOCH + timedelta(milliseconds=value[0]), value[1]


def _is_position(value: Any) -> bool:
    if not (isinstance(value, list) and [type(part) for part in value] == [int, str]):
        return False
    milliseconds, request_id = value
    return 0 <= milliseconds <= _LAST_MS and len(request_id) <= _LONGEST_ID and request_id.isascii()
