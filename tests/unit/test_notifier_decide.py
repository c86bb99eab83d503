"""What follows from an attempt, as tables: delivered, again later, or given up."""

from __future__ import annotations

import pytest

from services.notifier.decide import Delivered, GivenUp, Result, RetryAt, Schedule, decide

SCHEDULE = Schedule((0, 5, 300, 1800), jitter=0.1)
DAY = 86400.0


def _answered(status: int, retry_after: float | None = None) -> Result:
    return Result(status, latency_ms=7, retry_after=retry_after)


def _failed(*, forbidden: bool = False) -> Result:
    return Result(None, latency_ms=7, error="no answer in time", forbidden=forbidden)


def _delay(result: Result, *, tries: int = 0, draw: float = 0.0) -> float:
    decision = decide(result, tries=tries, schedule=SCHEDULE, draw=draw)
    assert isinstance(decision, RetryAt), decision
    return decision.delay


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_means_received(status: int) -> None:
    """The receiver says with 2xx that it has the webhook, at the last attempt as at the first."""
    for tries in (0, 3):
        assert decide(_answered(status), tries=tries, schedule=SCHEDULE, draw=0.5) == Delivered()


@pytest.mark.parametrize("status", [100, 199, 300, 301, 302, 307, 308, 400, 401, 404, 408, 429, 500, 503, 599])
def test_anything_else_is_tried_again_by_the_schedule(status: int) -> None:
    """Redirects, refusals and errors alike wait for the delay that the schedule has for the next attempt."""
    assert [_delay(_answered(status), tries=tries) for tries in range(3)] == [5, 300, 1800]


def test_no_answer_is_tried_again_by_the_schedule() -> None:
    """A timeout or a broken connection is a failure like any other."""
    assert [_delay(_failed(), tries=tries) for tries in range(3)] == [5, 300, 1800]


@pytest.mark.parametrize(
    ("result", "tries", "reason"),
    [
        (_answered(410), 0, "410"),
        (_failed(forbidden=True), 0, "not one that webhooks may be sent to"),
        (_answered(500), 3, "all 4 attempts failed"),
        (_failed(), 3, "all 4 attempts failed"),
        (_answered(503, retry_after=10), 3, "all 4 attempts failed"),
        (_answered(500), 99, "all 4 attempts failed"),
    ],
)
def test_what_ends_for_good(result: Result, tries: int, reason: str) -> None:
    """410 and a forbidden address end at once, everything else with the last attempt of the schedule."""
    decision = decide(result, tries=tries, schedule=SCHEDULE, draw=0.5)
    assert isinstance(decision, GivenUp)
    assert reason in decision.reason


@pytest.mark.parametrize(
    ("status", "asked", "delay"),
    [
        (429, 60, 60),
        (502, 60, 60),
        (503, 60, 60),
        (504, 60, 60),
        (429, 1, 5),  # the schedule is later anyway
        (429, 0, 5),
        (503, DAY, DAY),
        (503, 30 * DAY, DAY),  # a receiver cannot park a webhook for weeks
        (500, 60, 5),  # no status that asks to wait
        (404, 60, 5),
        (302, 60, 5),
    ],
)
def test_retry_after_is_honoured_where_it_has_a_meaning(status: int, asked: float, delay: float) -> None:
    """429, 502, 503 and 504 may put the next attempt off, up to a day, and never bring it forward."""
    assert _delay(_answered(status, retry_after=asked)) == delay


@pytest.mark.parametrize("draw", [0.0, 0.001, 0.5, 0.999])
def test_jitter_only_adds(draw: float) -> None:
    """Whatever is drawn, no attempt comes before its scheduled time, nor before what was asked."""
    assert _delay(_failed(), draw=draw) == pytest.approx(5 * (1 + 0.1 * draw))
    assert 600 <= _delay(_answered(503, retry_after=600), draw=draw) <= 660


def test_a_schedule_of_one_attempt_gives_up_after_it() -> None:
    """Without further delays there is no second attempt."""
    assert isinstance(decide(_failed(), tries=0, schedule=Schedule((0,), 0.1), draw=0.5), GivenUp)


@pytest.mark.parametrize(
    ("result", "ailing"),
    [
        (_failed(), True),
        (_answered(429), True),
        (_answered(500), True),
        (_answered(503), True),
        (_failed(forbidden=True), False),
        (_answered(200), False),
        (_answered(302), False),
        (_answered(404), False),
        (_answered(410), False),
    ],
)
def test_what_speaks_against_a_host(result: Result, ailing: bool) -> None:
    """No answer, an error of its own or 429 tell of the host; a refusal of one webhook, or of ours, does not."""
    assert result.host_is_ailing is ailing
