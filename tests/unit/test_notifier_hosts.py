"""The breaker's states, and what each host may get: judged with a clock that the test turns."""

from __future__ import annotations

import pytest

from services.notifier.breaker import (
    CLOSED,
    FIRST_SECONDS,
    LONGEST_SECONDS,
    OPENS_AFTER,
    Closed,
    Open,
    State,
    after_failure,
    room,
)
from services.notifier.hosts import MOST_AILING, Hosts


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _hosts(per_host: int = 8) -> tuple[Hosts, Clock]:
    clock = Clock()
    return Hosts(per_host, clock), clock


def _fail(hosts: Hosts, times: int, host: str = "h") -> State | None:
    news = None
    for _ in range(times):
        news = hosts.judge(host, ailing=True)
    return news


@pytest.mark.parametrize(
    ("state", "now", "after"),
    [
        (CLOSED, 0, Closed(1)),
        (Closed(OPENS_AFTER - 2), 0, Closed(OPENS_AFTER - 1)),
        (Closed(OPENS_AFTER - 1), 100, Open(100 + FIRST_SECONDS, FIRST_SECONDS)),
        (Open(130, 30), 129.9, Open(130, 30)),  # a call from before it opened
        (Open(130, 30), 130, Open(190, 60)),
        (Open(130, LONGEST_SECONDS), 130, Open(130 + LONGEST_SECONDS, LONGEST_SECONDS)),
    ],
)
def test_what_a_failure_makes_of_a_state(state: State, now: float, after: State) -> None:
    """Failures in a row open it; a failed probe opens it for twice as long, up to the longest rest."""
    assert after_failure(state, now) == after


@pytest.mark.parametrize(
    ("state", "now", "allowed"),
    [(CLOSED, 0, 8), (Closed(4), 0, 8), (Open(130, 30), 129.9, 0), (Open(130, 30), 130, 1), (Open(130, 30), 999, 1)],
)
def test_how_many_calls_a_state_allows(state: State, now: float, allowed: int) -> None:
    """Closed: the limit; open: none; when its time is up: one that probes."""
    assert room(state, now, 8) == allowed


def test_a_host_gets_its_limit_and_no_more() -> None:
    """Each POST under way takes one place of its host, and gives it back."""
    hosts, _ = _hosts(per_host=2)
    hosts.begin("h")
    hosts.begin("h")
    assert (hosts.room("h"), hosts.room("other")) == (0, 2)
    hosts.end("h")
    assert hosts.room("h") == 1
    hosts.end("h")
    assert not hosts.in_flight


def test_a_failing_host_rests_then_is_probed_one_at_a_time() -> None:
    """After failures in a row nothing goes there; then one probe, whose failure means a longer rest."""
    hosts, clock = _hosts()
    assert _fail(hosts, OPENS_AFTER - 1) is None
    assert hosts.room("h") == 8
    assert _fail(hosts, 1) == Open(clock.now + FIRST_SECONDS, FIRST_SECONDS)
    assert (hosts.room("h"), hosts.next_probe_seconds()) == (0, FIRST_SECONDS)
    assert hosts.resting == 1
    clock.now += FIRST_SECONDS
    assert (hosts.room("h"), hosts.next_probe_seconds()) == (1, None)
    hosts.begin("h")
    assert hosts.room("h") == 0
    assert _fail(hosts, 1) == Open(clock.now + 2 * FIRST_SECONDS, 2 * FIRST_SECONDS)


def test_stragglers_of_a_host_that_rests_change_nothing() -> None:
    """POSTs that were under way when the breaker opened neither lengthen the rest nor count as probes."""
    hosts, clock = _hosts()
    hosts.begin("h")
    _fail(hosts, OPENS_AFTER)
    assert _fail(hosts, 3) is None
    clock.now += FIRST_SECONDS
    assert hosts.room("h") == 0
    hosts.end("h")
    assert hosts.room("h") == 1


@pytest.mark.parametrize("failures", [1, OPENS_AFTER - 1])
def test_a_success_in_between_starts_the_count_anew(failures: int) -> None:
    """Only failures in a row count, and a success of a host that was not resting is no news."""
    hosts, _ = _hosts()
    _fail(hosts, failures)
    assert hosts.judge("h", ailing=False) is None
    assert _fail(hosts, OPENS_AFTER - 1) is None


def test_a_successful_probe_closes_the_breaker_and_is_told_once() -> None:
    """What was put off can come back as soon as the host answers; a second success changes nothing more."""
    hosts, clock = _hosts()
    _fail(hosts, OPENS_AFTER)
    clock.now += FIRST_SECONDS
    assert hosts.judge("h", ailing=False) == CLOSED
    assert hosts.judge("h", ailing=False) is None
    assert (hosts.room("h"), hosts.resting) == (8, 0)


def test_hosts_do_not_share_a_breaker() -> None:
    """One host's failures leave another's room as it is."""
    hosts, _ = _hosts()
    _fail(hosts, OPENS_AFTER, "bad")
    assert hosts.room("good") == 8


def _fill(hosts: Hosts, count: int) -> None:
    for number in range(count):
        hosts.judge(str(number), ailing=True)


def test_memory_for_failing_hosts_is_bounded() -> None:
    """However many hosts fail, only so many are remembered; the oldest is forgotten, not the newest."""
    hosts, _ = _hosts()
    _fail(hosts, OPENS_AFTER, "first")
    _fill(hosts, MOST_AILING)
    assert hosts.room("first") == 8
    assert _fail(hosts, OPENS_AFTER - 1, str(MOST_AILING - 1)) is not None
