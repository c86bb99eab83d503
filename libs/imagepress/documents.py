"""The documents in MongoDB: the only place that names collections, fields and states.

A *request* is one uploaded CSV. Its rows live in *batches*, the unit of claiming. Each POST of its webhook leaves an
*attempt*. `shared_indexes` says what is indexed and for which question.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NotRequired, TypedDict

from pymongo import ASCENDING, DESCENDING, IndexModel

SCHEMA: Final = 1
"""Version of the shapes below, carried by every request and batch; deploy/README.md says how it is raised.

A new field that may be absent needs no new version. A batch without one was written before batches carried it: 1.
"""

KNOWN: Final[dict[str, Any]] = {"schema": {"$not": {"$gt": SCHEMA}}}
"""Matches what this release understands. A newer release's documents are left to it: it runs beside, or comes back."""


class RequestStatus(StrEnum):
    """Life of a request: pending, processing, then one of the three ends."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class BatchStatus(StrEnum):
    """Life of a batch; `staged` ones cannot be claimed, since their request is not committed yet."""

    STAGED = "staged"
    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class ImageStatus(StrEnum):
    """Outcome of one image; an image without this field has none yet."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


class WebhookState(StrEnum):
    """Life of a run's webhook; `due` covers "being sent now", which the lease tells."""

    WAITING = "waiting"
    DUE = "due"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


ACTIVE: Final = [RequestStatus.PENDING, RequestStatus.PROCESSING]
"""Statuses of a request that has not ended."""

ENDED: Final = [RequestStatus.COMPLETED, RequestStatus.FAILED, RequestStatus.CANCELLED]
"""Statuses of a request of which nothing will change, unless it is retried."""

OPEN: Final = [BatchStatus.STAGED, BatchStatus.PENDING, BatchStatus.PROCESSING]
"""Statuses of a batch whose request may not end yet."""

UNCLAIMED: Final = [BatchStatus.STAGED, BatchStatus.PENDING]
"""Statuses of an open batch that nobody has in hand."""


class Lease(TypedDict):
    """A claim with an end: whoever writes must name the token, and may do so until `expires_at` (server time)."""

    token: str
    worker: str
    expires_at: datetime


class ImageFailure(TypedDict):
    """Why an image failed: a code of the contract and a sentence."""

    code: str
    message: str


class ImageDocument(TypedDict):
    """One image: its place `n` in its row, its URL and, once it ended, its outcome (sizes in bytes and pixels)."""

    n: int
    url: str
    status: NotRequired[str]
    run: NotRequired[int]
    """The run in which it failed: a later run tries it again."""
    blob: NotRequired[str]
    error: NotRequired[ImageFailure]
    bytes_in: NotRequired[int]
    bytes_out: NotRequired[int]
    width: NotRequired[int]
    height: NotRequired[int]
    kept_original: NotRequired[bool]


class RowDocument(TypedDict):
    """A row of the CSV, or the part of a long one that this batch holds; `row` counts from 0 in the file."""

    row: int
    serial_number: int
    product_name: str
    images: list[ImageDocument]


class BatchDocument(TypedDict):
    """At most BATCH_IMAGES images, claimed together; `_id` is `{request_id}/{seq:06}`, so it sorts as the file."""

    _id: str
    request_id: str
    run: int
    seq: int
    """How many turns the batches before it in the file take; the first has 0."""
    status: str
    turn: NotRequired[int]
    claims: int
    expiries: int
    """Leases that ran out (a returned batch does not count): two of them lead to quarantine."""
    lease: NotRequired[Lease]
    staged_at: datetime
    staged_from: NotRequired[str]
    """Status before a retry staged it: a retry that is never committed leaves the batch as it was."""
    rows: list[RowDocument]
    schema: NotRequired[int]
    options: Options
    succeeded: int
    failed: int
    bytes_in: int
    bytes_out: int
    traceparent: NotRequired[str]
    """The span of the upload (`tracing`), which the spans of its images stand below."""
    suspect: NotRequired[list[int]]
    """Quarantine only: [row, n, decoding, at it] of the image being worked on, written down before it is touched: its
    place, and how many holders in a row, this one included, were decoding it or were at it at all."""


class Options(TypedDict):
    """How to compress; `max_width` in pixels, None for as it is."""

    quality: int
    format: str
    max_width: int | None


class ImageCounts(TypedDict):
    """Images of a request; `succeeded` and `failed` are progress until the request ends, then a recount."""

    total: int
    succeeded: int
    failed: int


class ByteCounts(TypedDict):
    """Bytes fetched and bytes stored, of the images that succeeded."""

    input: int
    output: int


class WebhookDocument(TypedDict):
    """The webhook of a request's current run."""

    url: str
    host: str
    state: str
    tries: int
    next_attempt_at: NotRequired[datetime]
    schedule_from: NotRequired[int]
    """Tries before the last redelivery was asked for: the schedule begins anew behind them."""
    not_before: NotRequired[datetime]
    """When it was due before its host's breaker put it off: a host that is well again is not called earlier."""
    settled_at: NotRequired[datetime]
    """When it was delivered or given up."""
    lease: NotRequired[Lease]


class RequestDocument(TypedDict):
    """One upload; `_id` is the request id that the client was given (a UUID in text)."""

    _id: str
    schema: int
    run: int
    status: str
    created_at: datetime
    started_at: NotRequired[datetime]
    ended_at: NotRequired[datetime]
    woken_at: datetime
    released_run: int
    """The last run whose staged batches were all made pending: below `run`, the sweep has a release to finish."""
    source: dict[str, Any]
    images: ImageCounts
    bytes: ByteCounts
    options: Options
    webhook: NotRequired[WebhookDocument]
    client: NotRequired[str]
    traceparent: NotRequired[str]
    """The span of the upload (`tracing`), which that of the webhook stands below."""
    cancelling: NotRequired[bool]
    """A client asked to cancel: whoever ends the request ends it as cancelled."""
    cancelling_since: NotRequired[datetime]
    """When that was: the sweep leaves a cancellation to its ingest for a moment."""
    removed_at: NotRequired[datetime]
    """The client, or retention, wants it forgotten: nobody is shown it any more, and the sweep deletes what is left."""


class AttemptDocument(TypedDict):
    """One POST of a webhook; `_id` is `{request_id}/{run}/{number}`. Latency in milliseconds, answer cut short."""

    _id: str
    request_id: str
    run: int
    number: int
    at: datetime
    status_code: int | None
    latency_ms: int
    answer: str
    error: str | None


def batch_id(request_id: str, seq: int) -> str:
    """Return the `_id` of batch `seq` of a request."""
    return f"{request_id}/{seq:06}"


def batch_ids(request_id: str) -> dict[str, str]:
    """Return what a query asks of `_id` for all batches of a request: they lie between "/" and "0", its successor."""
    return {"$gt": f"{request_id}/", "$lt": f"{request_id}0"}


def webhook_id(request_id: str, run: int) -> str:
    """Return the `webhook-id` of a run: the same at every attempt, after every restart and redelivery.

    Without dots, which separate the parts of what is signed (Standard Webhooks 1.0.0).
    """
    return f"msg_{re.sub('[^A-Za-z0-9]', '', request_id)}_{run}"


def image_path(request_id: str, row: int, n: int, digest: str, extension: str) -> str:
    """Return where an image is stored: its hex SHA-256 `digest` makes the path name one content for ever."""
    return f"{request_id}/{row:06}-{n:02}-{digest[:8]}.{extension}"


STAGED_FOR_SECONDS: Final = 3600
"""How long staged batches may wait for the commit before they are taken for those of a dead ingest."""

COMMITTED_WITHIN_SECONDS: Final = STAGED_FOR_SECONDS // 2
"""Until when an ingest may still commit what it has staged: well before the sweep may take it away."""

PROGRESS_SECONDS: Final = 1.0
"""How often a worker writes down what has become of the images of a batch in hand."""

ATTEMPTS_KEPT_SECONDS: Final = 90 * 24 * 3600
"""How long the log of webhook attempts is kept."""

_NEWEST: Final = [("created_at", DESCENDING), ("_id", DESCENDING)]
_OF_A_CLIENT: Final = {"client": {"$exists": True}}

REQUEST_INDEXES: Final = [
    IndexModel([("status", ASCENDING), ("created_at", ASCENDING)], name="active"),
    # Due webhooks that nobody holds, soonest first: a document without a lease sorts under null.
    IndexModel(
        [("webhook.lease.token", ASCENDING), ("webhook.next_attempt_at", ASCENDING), ("webhook.host", ASCENDING)],
        name="webhook_due",
        partialFilterExpression={"webhook.state": WebhookState.DUE},
    ),
    # All due webhooks of a host whose breaker opens, to be moved by one update.
    IndexModel(
        [("webhook.host", ASCENDING), ("webhook.next_attempt_at", ASCENDING)],
        name="webhook_host",
        partialFilterExpression={"webhook.state": WebhookState.DUE},
    ),
    # What was given up since a moment, to be sent again.
    IndexModel(
        [("webhook.settled_at", ASCENDING)],
        name="webhook_given_up",
        partialFilterExpression={"webhook.state": WebhookState.GIVEN_UP},
    ),
    IndexModel(
        [("webhook.lease.expires_at", ASCENDING)],
        name="webhook_leases",
        partialFilterExpression={"webhook.lease.expires_at": {"$exists": True}},
    ),
    # The list, newest first: of everybody or of one client, of all statuses or of one. Each reads what it shows only.
    IndexModel(_NEWEST, name="newest"),
    IndexModel([("status", ASCENDING), *_NEWEST], name="newest_of_status"),
    IndexModel([("client", ASCENDING), *_NEWEST], name="newest_of_client", partialFilterExpression=_OF_A_CLIENT),
    IndexModel(
        [("client", ASCENDING), ("status", ASCENDING), *_NEWEST],
        name="newest_of_client_and_status",
        partialFilterExpression=_OF_A_CLIENT,
    ),
    IndexModel([("removed_at", ASCENDING)], name="removed", partialFilterExpression={"removed_at": {"$exists": True}}),
]

BATCH_INDEXES: Final = [
    IndexModel(
        [("turn", ASCENDING), ("_id", ASCENDING)],
        name="claim",
        partialFilterExpression={"status": BatchStatus.PENDING},
    ),
    # How many batches wait: counted without reading one of them (metrics, and whoever scales watchers by it).
    IndexModel(
        [("status", ASCENDING)],
        name="pending",
        partialFilterExpression={"status": BatchStatus.PENDING},
    ),
    # Covers both questions at the end of a request: is a batch open, and what do all of them add up to.
    IndexModel(
        [(field, ASCENDING) for field in ("request_id", "status", "succeeded", "failed", "bytes_in", "bytes_out")],
        name="recount",
    ),
    IndexModel(
        [("lease.expires_at", ASCENDING)],
        name="leases",
        partialFilterExpression={"lease.expires_at": {"$exists": True}},
    ),
    IndexModel(
        [("staged_at", ASCENDING)],
        name="staged",
        partialFilterExpression={"status": BatchStatus.STAGED},
    ),
]

KEYS_KEPT_SECONDS: Final = 24 * 3600
"""How long the `Idempotency-Key` of an upload is remembered: for longer than anybody repeats a call."""

IDEMPOTENCY_INDEXES: Final = [IndexModel([("created_at", ASCENDING)], name="ttl", expireAfterSeconds=KEYS_KEPT_SECONDS)]

ATTEMPT_INDEXES: Final = [
    IndexModel([("request_id", ASCENDING), ("at", ASCENDING)], name="of_request"),
    IndexModel([("at", ASCENDING)], name="ttl", expireAfterSeconds=ATTEMPTS_KEPT_SECONDS),
]
