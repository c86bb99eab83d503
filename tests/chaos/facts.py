"""What the ledger is checked on: plain facts, collected from clients, database, disk and receiver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

Place = tuple[int, int]
"""Where an image stands in its CSV: row and place in the row, both from 0."""


@dataclass(frozen=True)
class Planned:
    """A CSV that was uploaded: the numbers of its pictures by place; those in `gone` the origin has not (404)."""

    pictures: Mapping[Place, int]
    gone: frozenset[int] = frozenset()


@dataclass(frozen=True)
class ImageFact:
    """An image as a batch holds it."""

    place: Place
    status: str | None = None
    blob: str | None = None
    code: str | None = None


@dataclass(frozen=True)
class BatchFact:
    """A batch as it stands in the database."""

    id: str
    status: str
    images: Sequence[ImageFact]
    succeeded: int
    failed: int
    leased: bool = False


@dataclass(frozen=True)
class RequestFact:
    """A request as it stands in the database, with its batches; `upload` names the try that made it."""

    id: str
    upload: str
    status: str
    total: int
    succeeded: int
    failed: int
    batches: Sequence[BatchFact]
    run: int = 1
    ended_at: datetime | None = None
    webhook: str | None = None
    """State of its webhook, None where it has none."""
    leased: bool = False


@dataclass(frozen=True)
class CallFact:
    """A webhook as the receiver saw it; `welcome` tells whether it answered that it has received it."""

    request_id: str
    run: int
    webhook_id: str
    status: str
    ended_at: datetime
    """When the run ended, as the webhook tells."""
    at: datetime
    welcome: bool


class Wanted(StrEnum):
    """What a client may want of a request that it has."""

    CANCEL = "cancel"
    RETRY = "retry"


@dataclass(frozen=True)
class Wish:
    """What a client asked for and was not refused: it was told yes, or (not `sure`) never got an answer."""

    wanted: Wanted
    sure: bool
    delivered: bool = False
    """Whether the status said, before a retry, that the webhook of the run before was delivered."""


@dataclass(frozen=True)
class Facts:
    """Everything at the end. Files and numbers: None where a file is no picture that tells its number."""

    planned: Mapping[str, Planned]
    """By upload: each try of a client is one of its own, since an answer that was lost may hide a request."""
    answered: Mapping[str, str]
    """Request id to upload, of those that a client was told are accepted."""
    requests: Sequence[RequestFact]
    files: Mapping[str, int | None]
    calls: Sequence[CallFact]
    wishes: Mapping[str, Sequence[Wish]] = field(default_factory=dict)
    """By request, in the order in which its client, and nobody else, had them."""
    strange_batches: Sequence[str] = field(default_factory=tuple)
    """Batches whose request does not exist."""
