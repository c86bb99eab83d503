"""The ledger: facts in, everything that must not be out. Pure, and itself tested on planted faults.

What is demanded stands in the architecture's "Rules that must always hold": nothing accepted is lost, each image has
one outcome, totals equal a recount, files show the right picture, each webhook arrives after the end, under one id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from imagepress.folder import STAGING
from tests.chaos.facts import BatchFact, Facts, RequestFact
from tests.chaos.ledger.images import check_images, never_done
from tests.chaos.ledger.violations import Kind, Violation
from tests.chaos.ledger.webhooks import check_webhooks
from tests.chaos.ledger.wishes import check_wishes

ENDED = ("completed", "failed", "cancelled")
OPEN = ("staged", "pending", "processing")


def check(facts: Facts) -> list[Violation]:
    """Return everything that is wrong."""
    return [
        *_accepted(facts),
        *(found for request in facts.requests for found in _request(request, facts)),
        *check_webhooks(facts),
        *_left_behind(facts),
    ]


def strays(facts: Facts) -> dict[str, list[str]]:
    """Return files that nothing points to, as they are allowed, by their cause.

    `half_written`: what a killed process was just writing, which a folder stages apart for the sweep to find
    (`imagepress.folder`). `cancelled`: images in the hands of workers when a cancellation came, stored before or within
    a heartbeat after it: hundreds where a giant is cancelled half-way. A retry finds them; else they go with their
    request.
    """
    cut_off = tuple(name for request in facts.requests for _, name in never_done(request))
    beginnings = {"half_written": (f"{STAGING}/",), "cancelled": cut_off}
    return {cause: sorted(path for path in facts.files if path.startswith(by)) for cause, by in beginnings.items()}


def _accepted(facts: Facts) -> Iterator[Violation]:
    """What a client was told is accepted exists; what exists was uploaded, at most once each try."""
    by_id = {request.id: request for request in facts.requests}
    for request_id, upload in facts.answered.items():
        if request_id not in by_id:
            yield Violation(Kind.LOST, request_id, f"accepted as {upload}, but there is no such request")
    tries = Counter(request.upload for request in facts.requests)
    for upload, times in tries.items():
        if upload not in facts.planned:
            yield Violation(Kind.ORPHANS, upload, "a request that nobody uploaded")
        if times > 1:
            yield Violation(Kind.DOUBLE_COUNTED, upload, f"one upload made {times} requests")


def _request(request: RequestFact, facts: Facts) -> Iterator[Violation]:
    planned = facts.planned.get(request.upload)
    if request.status not in ENDED:
        yield Violation(Kind.LOST, request.id, f"has not ended: {request.status}")
    if request.leased:
        yield Violation(Kind.ORPHANS, request.id, "a lease is left on its webhook")
    for batch in request.batches:
        yield from _batch(batch)
    yield from _totals(request)
    yield from check_wishes(request, facts.wishes.get(request.id, ()))
    if planned is not None:
        yield from check_images(request, planned, facts)


def _batch(batch: BatchFact) -> Iterator[Violation]:
    if batch.status in OPEN:
        yield Violation(Kind.ORPHANS, batch.id, f"a batch is left {batch.status}")
    if batch.leased:
        yield Violation(Kind.ORPHANS, batch.id, "a lease is left")
    counted = Counter(image.status for image in batch.images)
    if (batch.succeeded, batch.failed) != (counted["succeeded"], counted["failed"]):
        told = f"{batch.succeeded} + {batch.failed}"
        yield Violation(Kind.DOUBLE_COUNTED, batch.id, f"says {told}, its rows {dict(counted)}")


def _totals(request: RequestFact) -> Iterator[Violation]:
    counted = Counter(image.status for batch in request.batches for image in batch.images)
    told = (request.total, request.succeeded, request.failed)
    recount = (counted.total(), counted["succeeded"], counted["failed"])
    if told != recount:
        yield Violation(Kind.DOUBLE_COUNTED, request.id, f"total, succeeded, failed: says {told}, recount {recount}")


def _left_behind(facts: Facts) -> Iterator[Violation]:
    for batch in facts.strange_batches:
        yield Violation(Kind.ORPHANS, batch, "a batch without a request")
    named = {image.blob for request in facts.requests for batch in request.batches for image in batch.images}
    for path in sorted(facts.files.keys() - named - set(chain(*strays(facts).values()))):
        yield Violation(Kind.ORPHANS, path, "a file that nothing points to")
