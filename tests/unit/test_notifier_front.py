"""How far a notifier has looked, and whom it left behind: with a clock that the test turns."""

from __future__ import annotations

import pytest

from services.notifier.front import MOST_BEHIND, MOST_READY, OVERLAP_SECONDS, Front

SWEEP_SECONDS = 15.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _front() -> tuple[Front, Clock]:
    clock = Clock()
    return Front(clock, sweep_seconds=SWEEP_SECONDS), clock


def _look(front: Front, *crowded: str, exhausted: bool = True) -> bool:
    return front.looked(front.reach(), exhausted=exhausted, crowded=crowded)


def _room(**rooms: int) -> dict[str, int]:
    return rooms


def test_a_look_goes_back_to_where_the_last_one_began() -> None:
    """The first look goes back to the beginning, the next ones to the last one and a little further."""
    front, clock = _front()
    assert front.reach().seconds_back is None
    reach = front.reach()
    clock.now += 2  # it took a while
    assert front.looked(reach, exhausted=True, crowded=())
    clock.now += 3
    assert front.reach().seconds_back == 5 + OVERLAP_SECONDS


def test_a_look_that_left_something_to_take_is_repeated_as_far_back() -> None:
    """Until a look has taken all that it may, the front does not move."""
    front, clock = _front()
    assert not _look(front, exhausted=False)
    assert front.reach().seconds_back is None
    _look(front)
    clock.now += 3
    assert not _look(front, exhausted=False)
    clock.now += 3
    assert front.reach().seconds_back == 6 + OVERLAP_SECONDS


def test_once_in_sweep_seconds_a_look_goes_back_to_the_beginning() -> None:
    """Only a look from there counts as one, however many others there were."""
    front, clock = _front()
    _look(front)
    for _ in range(4):
        clock.now += SWEEP_SECONDS / 5
        assert front.reach().seconds_back is not None
        _look(front)
    clock.now += SWEEP_SECONDS / 5
    assert front.reach().seconds_back is None


def test_hosts_left_behind_are_ready_when_they_have_room_the_longest_waiting_first() -> None:
    """Who was looked at and has still more due goes to the end of the line; who has not leaves it."""
    front, _ = _front()
    _look(front, "a", "b", "c")
    assert front.ready(_room(a=1, b=0, c=2).__getitem__) == ["a", "c"]
    front.caught_up(["a", "c"], exhausted=True, crowded={"a"})
    assert list(front.behind) == ["b", "a"]
    front.caught_up(["b"], exhausted=False, crowded=())
    assert list(front.behind) == ["a", "b"]


def test_when_a_host_has_caught_up_what_comes_due_next_must_be_asked_for() -> None:
    """As long as it was left behind, what comes due there was left out; where all stay behind nothing has changed."""
    front, _ = _front()
    _look(front, "a", "b")
    front.unseen_seconds()
    front.caught_up(["a", "b"], exhausted=False, crowded=())
    assert front.unseen_seconds() is None
    front.caught_up(["a", "b"], exhausted=True, crowded={"b"})
    assert front.unseen_seconds() is not None


def test_memory_and_looks_are_bounded() -> None:
    """Beyond the most that are remembered a look is the last one all the same; few are looked at together."""
    front, _ = _front()
    assert not _look(front, *map(str, range(MOST_BEHIND)), exhausted=False)
    assert not _look(front, "0", exhausted=False)
    assert _look(front, "one more", exhausted=False)
    assert len(front.behind) == MOST_BEHIND
    assert len(front.ready(lambda _: 1)) == MOST_READY


def test_what_comes_due_next_is_asked_for_when_it_has_come() -> None:
    """At first, when the known time has passed, and otherwise not: sooner times are taken note of."""
    front, clock = _front()
    _look(front)
    clock.now += 1
    assert front.unseen_seconds() == 1
    assert front.unseen_seconds() is None
    assert not front.expect(100)
    assert front.expect(5)
    assert front.seconds_to_next() == 5
    clock.now += 5
    assert front.unseen_seconds() == 6
    assert front.seconds_to_next() == pytest.approx(SWEEP_SECONDS - 6)  # the next look from the beginning


def test_after_trouble_nothing_counts_as_seen() -> None:
    """A pass that failed may have missed anything: the next look is the first again, and asks what comes next."""
    front, _ = _front()
    _look(front)
    front.unseen_seconds()
    front.start_anew()
    assert front.reach().seconds_back is None
    assert front.unseen_seconds() is not None
