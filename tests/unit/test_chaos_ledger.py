"""The ledger of `make chaos` finds what it is there for: faults planted into a clean state are told by their kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.chaos.facts import BatchFact, CallFact, Facts, ImageFact, Planned, RequestFact, Wanted, Wish
from tests.chaos.ledger.check import check, strays
from tests.chaos.ledger.violations import Kind
from tests.support.identity import MOST, NoIdentity, number_of, picture

END = datetime(2026, 1, 1, tzinfo=UTC)
GONE = 8

PLANNED = Planned({(0, 0): 5, (0, 1): 6, (1, 0): 7, (2, 0): GONE}, gone=frozenset({GONE}))
IMAGES = [
    ImageFact((0, 0), "succeeded", "r/000000-00-aa.jpg"),
    ImageFact((0, 1), "succeeded", "r/000000-01-bb.jpg"),
    ImageFact((1, 0), "succeeded", "r/000001-00-cc.jpg"),
    ImageFact((2, 0), "failed", None, "http_404"),
]
BATCHES = [
    BatchFact("r/000000", "completed", IMAGES[:2], succeeded=2, failed=0),
    BatchFact("r/000001", "completed", IMAGES[2:], succeeded=1, failed=1),
]
REQUEST = RequestFact("r", "0-0", "completed", 4, 3, 1, batches=BATCHES, ended_at=END, webhook="delivered")
CALL = CallFact("r", 1, "id-1", "completed", END, END + timedelta(seconds=1), welcome=True)
CLEAN = Facts(
    planned={"0-0": PLANNED, "0-1": PLANNED},
    answered={"r": "0-0"},
    requests=[REQUEST],
    files={"r/000000-00-aa.jpg": 5, "r/000000-01-bb.jpg": 6, "r/000001-00-cc.jpg": 7},
    calls=[replace(CALL, welcome=False), CALL],
)

CANCEL = Wish(Wanted.CANCEL, sure=True)
RETRY = Wish(Wanted.RETRY, sure=True, delivered=True)
UNSURE = Wish(Wanted.RETRY, sure=False)
BEFORE = END - timedelta(minutes=1)
# Cancelled, told, tried again, cancelled again before the first batch was done; two of its images had been stored.
TWICE = replace(
    CLEAN,
    requests=[
        replace(
            REQUEST,
            status="cancelled",
            succeeded=1,
            run=2,
            batches=[
                replace(BATCHES[0], status="cancelled", images=[ImageFact((0, 0)), ImageFact((0, 1))], succeeded=0),
                BATCHES[1],
            ],
        )
    ],
    calls=[
        replace(CALL, status="cancelled", ended_at=BEFORE, at=BEFORE),
        replace(CALL, status="cancelled", run=2, webhook_id="id-2"),
    ],
    wishes={"r": [CANCEL, RETRY, CANCEL]},
)


def _with_request(**changes: Any) -> Facts:
    return replace(CLEAN, requests=[replace(REQUEST, **changes)])


def _twice(**changes: Any) -> Facts:
    return replace(TWICE, requests=[replace(TWICE.requests[0], **changes)])


def _twice_calling(**changes: Any) -> Facts:
    """Return the state of two runs, with the webhook of the second one changed."""
    return replace(TWICE, calls=[TWICE.calls[0], replace(TWICE.calls[1], **changes)])


def _with_batch(**changes: Any) -> Facts:
    return _with_request(batches=[replace(BATCHES[0], **changes), BATCHES[1]])


def _with_files(**numbers: int | None) -> Facts:
    return replace(
        CLEAN, files={**CLEAN.files, **{f"r/{path}.jpg".replace("_", "-"): n for path, n in numbers.items()}}
    )


def _without_file() -> Facts:
    return replace(CLEAN, files={path: number for path, number in CLEAN.files.items() if number != 6})


PLANTED: dict[str, tuple[Kind, Callable[[], Facts]]] = {
    "an accepted request is gone": (Kind.LOST, lambda: replace(CLEAN, requests=[], calls=[], files={})),
    "a request never ended": (Kind.LOST, lambda: _with_request(status="processing", ended_at=None)),
    "an image is in no batch": (Kind.LOST, lambda: _with_batch(images=IMAGES[:1], succeeded=1)),
    "an image has no outcome": (Kind.LOST, lambda: _with_batch(images=[ImageFact((0, 0)), IMAGES[1]], succeeded=1)),
    "a good image failed": (
        Kind.LOST,
        lambda: _with_batch(images=[ImageFact((0, 0), "failed", None, "poison"), IMAGES[1]], succeeded=1, failed=1),
    ),
    "a file is gone": (Kind.LOST, _without_file),
    "an image is in two batches": (Kind.DOUBLE_COUNTED, lambda: _with_batch(images=IMAGES[:3], succeeded=3)),
    "a batch is counted twice": (Kind.DOUBLE_COUNTED, lambda: _with_request(succeeded=5)),
    "a batch miscounts its rows": (Kind.DOUBLE_COUNTED, lambda: _with_batch(succeeded=1)),
    "an image comes from nowhere": (
        Kind.DOUBLE_COUNTED,
        lambda: _with_batch(images=[*IMAGES[:2], ImageFact((9, 0), "failed", None, "http_404")], failed=1),
    ),
    "one upload made two requests": (
        Kind.DOUBLE_COUNTED,
        lambda: replace(CLEAN, requests=[REQUEST, replace(REQUEST, id="s", webhook=None)]),
    ),
    "two images are swapped": (Kind.WRONG_IMAGE, lambda: _with_files(**{"000000_00_aa": 6, "000000_01_bb": 5})),
    "a file is no picture": (Kind.WRONG_IMAGE, lambda: _with_files(**{"000000_00_aa": None})),
    "a picture that the origin has not": (
        Kind.WRONG_IMAGE,
        lambda: replace(CLEAN, planned={"0-0": replace(PLANNED, gone=frozenset({5, GONE}))}),
    ),
    "a webhook never came": (Kind.WEBHOOKS_MISSING, lambda: replace(CLEAN, calls=[])),
    "a webhook was refused always": (
        Kind.WEBHOOKS_MISSING,
        lambda: replace(CLEAN, calls=[replace(CALL, welcome=False)]),
    ),
    "a webhook came before the end": (
        Kind.WEBHOOKS_WRONG,
        lambda: replace(CLEAN, calls=[replace(CALL, at=END - timedelta(milliseconds=1)), CALL]),
    ),
    "a webhook changed its id": (
        Kind.WEBHOOKS_WRONG,
        lambda: replace(CLEAN, calls=[replace(CALL, webhook_id="id-2", welcome=False), CALL]),
    ),
    "a webhook told another end": (Kind.WEBHOOKS_WRONG, lambda: replace(CLEAN, calls=[replace(CALL, status="failed")])),
    "a webhook is still due": (Kind.WEBHOOKS_WRONG, lambda: _with_request(webhook="due")),
    "a webhook for nobody": (Kind.WEBHOOKS_WRONG, lambda: replace(CLEAN, calls=[CALL, replace(CALL, request_id="x")])),
    "a batch is staged": (Kind.ORPHANS, lambda: _with_batch(status="staged")),
    "a batch is open": (Kind.ORPHANS, lambda: _with_batch(status="processing")),
    "a lease is left": (Kind.ORPHANS, lambda: _with_batch(leased=True)),
    "a webhook's lease is left": (Kind.ORPHANS, lambda: _with_request(leased=True)),
    "batches without a request": (Kind.ORPHANS, lambda: replace(CLEAN, strange_batches=["s/000000"])),
    "a file that nothing points to": (Kind.ORPHANS, lambda: _with_files(**{"000009_00_dd": 5})),
    "a cancellation is forgotten": (Kind.LOST, lambda: replace(CLEAN, wishes={"r": [CANCEL]})),
    "a request is cancelled by nobody": (Kind.LOST, lambda: replace(TWICE, wishes={"r": [CANCEL, RETRY]})),
    "a retry is forgotten": (Kind.LOST, lambda: replace(CLEAN, wishes={"r": [RETRY]})),
    "a retry makes two runs": (Kind.DOUBLE_COUNTED, lambda: _twice(run=3)),
    "a run that nobody wanted": (Kind.DOUBLE_COUNTED, lambda: _with_request(run=2)),
    "an image without outcome is not one that was cancelled": (
        Kind.LOST,
        lambda: _twice(batches=[replace(TWICE.requests[0].batches[0], status="completed"), BATCHES[1]]),
    ),
    "a cancelled image is in no batch": (
        Kind.LOST,
        lambda: _twice(batches=[replace(TWICE.requests[0].batches[0], images=[ImageFact((0, 0))]), BATCHES[1]]),
    ),
    "a cancelled image is counted": (Kind.DOUBLE_COUNTED, lambda: _twice(succeeded=2)),
    "a cancelled request has files of others": (
        Kind.ORPHANS,
        lambda: replace(TWICE, files={**TWICE.files, "r/000002-00-dd.jpg": 8}),
    ),
    "the webhook of an earlier run never came": (Kind.WEBHOOKS_MISSING, lambda: replace(TWICE, calls=TWICE.calls[1:])),
    "the webhook of the last run never came": (Kind.WEBHOOKS_MISSING, lambda: replace(TWICE, calls=TWICE.calls[:1])),
    "the webhook of a run that never was": (
        Kind.WEBHOOKS_WRONG,
        lambda: replace(TWICE, calls=[*TWICE.calls, replace(CALL, run=3, webhook_id="id-3")]),
    ),
    "two runs under one id": (Kind.WEBHOOKS_WRONG, lambda: _twice_calling(webhook_id="id-1")),
    "a run told two ends": (
        Kind.WEBHOOKS_WRONG,
        lambda: replace(TWICE, calls=[*TWICE.calls, replace(TWICE.calls[0], status="completed")]),
    ),
    "a webhook told another time": (Kind.WEBHOOKS_WRONG, lambda: _twice_calling(ended_at=BEFORE)),
    "a request that nobody uploaded": (Kind.ORPHANS, lambda: _with_request(upload="9-9")),
}


def test_a_clean_state_has_no_violation() -> None:
    """Where everything is as planned, an upload that was broken off and left nothing included, nothing is told."""
    assert check(CLEAN) == []


def test_what_was_cancelled_and_tried_again_may_be_half_done() -> None:
    """Images without an outcome, their files, two webhooks: nothing is told; the files are counted apart."""
    assert check(TWICE) == []
    assert strays(TWICE) == {"half_written": [], "cancelled": ["r/000000-00-aa.jpg", "r/000000-01-bb.jpg"]}


@pytest.mark.parametrize("wishes", [[CANCEL, UNSURE], [UNSURE, CANCEL], [CANCEL, RETRY, UNSURE]])
def test_a_wish_without_an_answer_may_have_come_true_or_not(wishes: list[Wish]) -> None:
    """A client that was not answered can complain neither of the run that was made nor of the one that was not."""
    assert check(replace(CLEAN, wishes={"r": [UNSURE]})) == []
    wrong = {violation.what for violation in check(replace(_twice(status="completed"), wishes={"r": wishes}))}
    assert not [what for what in wrong if "runs" in what]


def test_a_request_whose_answer_was_lost_is_checked_like_any_other() -> None:
    """A request that no client was told of may exist, but then it must have ended as it should."""
    assert check(replace(CLEAN, answered={})) == []
    assert check(replace(_with_request(status="pending", ended_at=END), answered={}))


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str) -> None:
    """Each fault is told by its kind."""
    kind, planted = PLANTED[fault]
    assert kind in {violation.kind for violation in check(planted())}


def test_what_a_killed_process_was_just_writing_is_counted_apart() -> None:
    """A staging file of the store is no orphan, and is told."""
    facts = replace(CLEAN, files={**CLEAN.files, ".staging/0f": None})
    assert check(facts) == []
    assert strays(facts) == {"half_written": [".staging/0f"], "cancelled": []}


@pytest.mark.parametrize("number", [0, 1, 4711, MOST])
def test_a_picture_tells_its_number(number: int) -> None:
    """The number that a picture was made with is read from its pixels."""
    assert number_of(picture(number)) == number


def test_what_carries_no_number_is_refused() -> None:
    """Neither half a file nor no picture at all tells a number."""
    for data in (picture(7)[:300], b"nothing"):
        with pytest.raises(NoIdentity):
            number_of(data)
