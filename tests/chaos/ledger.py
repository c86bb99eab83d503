"""The ledger: facts in, everything that must not be out. Pure, and itself tested on planted faults.

What is demanded stands in the architecture's "Rules that must always hold": nothing accepted is lost, each image has
one outcome, totals equal a recount, files show the right picture, each webhook arrives after the end, under one id.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from imagepress.folder import STAGING
from tests.chaos.facts import BatchFact, CallFact, Facts, ImageFact, Place, Planned, RequestFact

ENDED = ("completed", "failed", "cancelled")
OPEN = ("staged", "pending", "processing")


class Kind(StrEnum):
    """What may be wrong, by the name of its figure in the summary."""

    LOST = "lost"
    DOUBLE_COUNTED = "double_counted"
    WRONG_IMAGE = "wrong_image"
    WEBHOOKS_MISSING = "webhooks_missing"
    WEBHOOKS_WRONG = "webhooks_wrong"
    ORPHANS = "orphans"


@dataclass(frozen=True)
class Violation:
    """Something that must not be, and where."""

    kind: Kind
    where: str
    what: str


def check(facts: Facts) -> list[Violation]:
    """Return everything that is wrong."""
    return [
        *_accepted(facts),
        *(found for request in facts.requests for found in _request(request, facts)),
        *_webhooks(facts),
        *_left_behind(facts),
    ]


def staging_leftovers(facts: Facts) -> list[str]:
    """Return files that a killed process was just writing: no path that anything could point to.

    A folder stages them apart, for the sweep to find (`imagepress.folder`); they are allowed, and counted apart.
    """
    return sorted(path for path in facts.files if _is_staged(path))


def _is_staged(path: str) -> bool:
    return path.startswith(f"{STAGING}/")


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
    if planned is not None:
        yield from _outcomes(request, planned, facts)


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


def _outcomes(request: RequestFact, planned: Planned, facts: Facts) -> Iterator[Violation]:
    """Each planned image is there once, with the outcome that its picture allows."""
    images: dict[Place, list[ImageFact]] = defaultdict(list)
    for batch in request.batches:
        for image in batch.images:
            images[image.place].append(image)
    for place in images.keys() - planned.pictures.keys():
        yield Violation(Kind.DOUBLE_COUNTED, f"{request.id} {place}", "an image that was not in the file")
    for place, number in planned.pictures.items():
        where = f"{request.id} {place}"
        found = images.get(place, [])
        if not found:
            yield Violation(Kind.LOST, where, "the image is in no batch")
        elif len(found) > 1:
            yield Violation(Kind.DOUBLE_COUNTED, where, f"the image is in {len(found)} batches")
        else:
            yield from _image(found[0], where, None if number in planned.gone else number, facts)


def _image(image: ImageFact, where: str, number: int | None, facts: Facts) -> Iterator[Violation]:
    """Check one outcome; `number` is None for a picture that the origin does not have."""
    if image.status is None:
        yield Violation(Kind.LOST, where, "the image has no outcome")
    elif image.status == "failed":
        if number is not None:
            yield Violation(Kind.LOST, where, f"failed with {image.code}, though the origin has it")
        elif image.code != "http_404":
            yield Violation(Kind.LOST, where, f"failed with {image.code} instead of http_404")
    elif number is None:
        yield Violation(Kind.WRONG_IMAGE, where, f"succeeded as {image.blob}, though the origin does not have it")
    elif image.blob is None or image.blob not in facts.files:
        yield Violation(Kind.LOST, where, f"there is no file {image.blob}")
    elif facts.files[image.blob] != number:
        yield Violation(Kind.WRONG_IMAGE, where, f"{image.blob} shows {facts.files[image.blob]} instead of {number}")


def _webhooks(facts: Facts) -> Iterator[Violation]:
    calls: dict[str, list[CallFact]] = defaultdict(list)
    for call in facts.calls:
        calls[call.request_id].append(call)
    for request in facts.requests:
        if request.webhook is not None:
            yield from _webhook(request, calls.pop(request.id, []))
    for request_id in calls:
        yield Violation(Kind.WEBHOOKS_WRONG, request_id, "a webhook for a request that has none")


def _webhook(request: RequestFact, calls: list[CallFact]) -> Iterator[Violation]:
    if not any(call.welcome for call in calls):
        yield Violation(Kind.WEBHOOKS_MISSING, request.id, f"never received; {len(calls)} calls, {request.webhook}")
    elif request.webhook != "delivered":
        yield Violation(Kind.WEBHOOKS_WRONG, request.id, f"received, but its state is {request.webhook}")
    early = [call for call in calls if request.ended_at is None or call.at < request.ended_at]
    if early:
        yield Violation(Kind.WEBHOOKS_WRONG, request.id, f"called {len(early)} times before its end")
    if len(ids := {call.webhook_id for call in calls}) > 1:
        yield Violation(Kind.WEBHOOKS_WRONG, request.id, f"called under {len(ids)} ids: {sorted(ids)}")
    if told := {call.status for call in calls} - {request.status}:
        yield Violation(Kind.WEBHOOKS_WRONG, request.id, f"ended as {request.status}, but told {sorted(told)}")


def _left_behind(facts: Facts) -> Iterator[Violation]:
    for batch in facts.strange_batches:
        yield Violation(Kind.ORPHANS, batch, "a batch without a request")
    named = {image.blob for request in facts.requests for batch in request.batches for image in batch.images}
    for path in sorted(facts.files.keys() - named):
        if not _is_staged(path):
            yield Violation(Kind.ORPHANS, path, "a file that nothing points to")
