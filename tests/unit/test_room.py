"""Room for decoded pixels: what does not fit waits, and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.watcher.room import Room


def test_what_does_not_fit_waits_until_there_is_room() -> None:
    """A holder that would exceed the total begins only when another has left."""
    room = Room(10)
    entered = threading.Event()

    def second() -> int:
        with room.hold(6):
            entered.set()
            return room.in_use

    with ThreadPoolExecutor(1) as threads:
        with room.hold(6):
            waiting = threads.submit(second)
            assert not entered.wait(0.05)
        assert waiting.result(5) == 6
    assert room.in_use == 0


def test_one_alone_may_hold_more_than_the_total() -> None:
    """A picture larger than all room is worked on alone rather than never."""
    room = Room(10)
    with room.hold(25):
        assert room.in_use == 25


def test_room_is_given_back_after_a_failure() -> None:
    """A decoder that fails leaves nothing held."""
    room = Room(10)
    with pytest.raises(ZeroDivisionError), room.hold(10):
        raise ZeroDivisionError
    assert room.in_use == 0


def test_a_large_one_is_not_passed_by_a_small_one() -> None:
    """While a large picture waits, a small one that would fit waits behind it: small ones cannot starve it."""
    room = Room(10)
    order: list[int] = []

    def hold(units: int) -> None:
        with room.hold(units):
            order.append(units)

    with ThreadPoolExecutor(2) as threads:
        with room.hold(6):
            large = threads.submit(hold, 10)
            ends = time.monotonic() + 5
            while not room.has_waiting and time.monotonic() < ends:
                time.sleep(0)
            small = threads.submit(hold, 4)
            with pytest.raises(TimeoutError):
                small.result(0.05)
        large.result(5)
        small.result(5)
    assert order == [10, 4]
