"""Pacing: a host is asked by few at a time and not at all during its pause, and others do not notice."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagepress.outbound import retry_after_seconds
from services.watcher.deadline import Alarms, Deadline
from services.watcher.pacing import Pacing

NOW = datetime(2026, 7, 1, 12, 0, 0, tzinfo=UTC)


class Clock:
    """A clock that only the test moves."""

    now = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


async def turn_over() -> None:
    """Let every task run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def occupy(
    pacing: Pacing, host: str, until: asyncio.Event, entered: list[str], name: str = "", turn_of: str = ""
) -> None:
    async with pacing.slot(host, Deadline(60, Alarms()), turn_of):
        entered.append(name or host)
        await until.wait()


async def test_slots_of_a_host_are_limited_and_given_in_order() -> None:
    """At most `per_host` are inside; the others follow first come, first served."""
    pacing, done, entered = Pacing(2, 64, 60), asyncio.Event(), list[str]()
    async with asyncio.TaskGroup() as group:
        for name in "abcd":
            group.create_task(occupy(pacing, "host", done, entered, name))
        await turn_over()
        assert entered == ["a", "b"]
        done.set()
    assert entered == ["a", "b", "c", "d"]


async def test_batches_take_turns_at_a_host() -> None:
    """An image of a small batch does not wait behind all those of a giant one that came before it."""
    pacing, done, entered = Pacing(1, 64, 60), asyncio.Event(), list[str]()
    async with asyncio.TaskGroup() as group:
        for name in ("giant 1", "giant 2", "giant 3", "giant 4", "small"):
            turn_of = name.partition(" ")[0]
            group.create_task(occupy(pacing, "host", done, entered, name, turn_of))
        await turn_over()
        done.set()
    assert entered == ["giant 1", "giant 2", "small", "giant 3", "giant 4"]


async def test_full_host_does_not_hold_others_up() -> None:
    """While one host's slots are taken, another host's are free."""
    pacing, done, entered = Pacing(1, 64, 60), asyncio.Event(), list[str]()
    async with asyncio.TaskGroup() as group:
        for host in ("slow", "slow", "other"):
            group.create_task(occupy(pacing, host, done, entered))
        await turn_over()
        assert entered == ["slow", "other"]
        done.set()


async def test_hosts_are_forgotten_when_idle() -> None:
    """Nothing is remembered of a host that nobody uses, however its users left."""
    pacing, done, entered = Pacing(1, 64, 60), asyncio.Event(), list[str]()
    inside = asyncio.create_task(occupy(pacing, "host", done, entered))
    waiting = asyncio.create_task(occupy(pacing, "host", done, entered))
    await turn_over()
    assert len(pacing) == 1
    for task in (waiting, inside):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(pacing) == 0


async def test_cancelled_waiter_leaves_its_place_to_the_next() -> None:
    """Cancelling one who waits costs the host no slot."""
    pacing, done, entered = Pacing(1, 64, 60), asyncio.Event(), list[str]()
    first, victim, last = (asyncio.create_task(occupy(pacing, "host", done, entered, name)) for name in "abc")
    await turn_over()
    victim.cancel()
    done.set()
    await asyncio.gather(first, last)
    assert entered == ["a", "c"]


async def test_paused_host_gives_no_slot_until_the_pause_ends() -> None:
    """A pause lasts as long as the host asked for, and stops nobody else."""
    pacing, loop = Pacing(8, 64, 60), asyncio.get_running_loop()
    pacing.pause("host", 0.05)
    started = loop.time()
    async with pacing.slot("other", Deadline(60, Alarms())):
        assert loop.time() - started < 0.04
    async with pacing.slot("host", Deadline(60, Alarms())):
        assert loop.time() - started >= 0.049
    assert len(pacing) == 0


def test_pause_is_capped_and_never_shortened() -> None:
    """A host cannot park our work for days, and a later, shorter request does not cut a pause short."""
    clock = Clock()
    pacing = Pacing(8, 64, 60, clock)
    pacing.pause("host", 1e9)
    pacing.pause("host", 5)
    assert pacing.pause_left("host") == 60
    clock.now += 60
    assert pacing.pause_left("host") == 0
    assert len(pacing) == 0


def test_pauses_of_countless_hosts_stay_bounded() -> None:
    """A CSV of a hundred thousand hosts that all ask for a pause does not fill the memory; the latest are kept."""
    pacing = Pacing(8, 64, 60, Clock())
    for number in range(25_000):
        pacing.pause(f"host{number}", 30)
    assert len(pacing) <= 10_000
    assert pacing.pause_left("host24999") == 30


async def test_queues_do_not_use_up_the_deadline_but_a_pause_does() -> None:
    """Waiting for a slot, of the host's or of all, is free of charge; waiting because the host asked for it is not."""
    for pacing, other in ((Pacing(1, 64, 60), "host"), (Pacing(8, 1, 60), "other")):
        entered, done, deadline = list[str](), asyncio.Event(), Deadline(0.03, Alarms())
        first = asyncio.create_task(occupy(pacing, other, done, entered))
        await turn_over()
        asyncio.get_running_loop().call_later(0.06, done.set)
        async with pacing.slot("host", deadline), deadline:
            assert deadline.left == 0.03
        await first
        pacing.pause("host", 10)
        with pytest.raises(TimeoutError):
            async with pacing.slot("host", deadline):
                pass
        assert deadline.left <= 0
        assert len(pacing) == 1  # the pause alone


async def test_those_who_wait_for_one_host_leave_the_places_of_all_to_others() -> None:
    """A giant whose host takes its time fills that host's places, and no more of all places than that."""
    pacing, done, entered = Pacing(2, 3, 60), asyncio.Event(), list[str]()
    async with asyncio.TaskGroup() as group:
        for host in ("slow",) * 6 + ("other",) * 2:
            group.create_task(occupy(pacing, host, done, entered))
        await turn_over()
        assert entered == ["slow", "slow", "other"]
        done.set()
    assert sorted(entered) == ["other"] * 2 + ["slow"] * 6


async def test_who_gives_up_in_either_queue_takes_no_place_along() -> None:
    """Cancelled before the host's place, or between that and the place among all, one leaves nothing behind."""
    pacing, done, entered = Pacing(1, 1, 60), asyncio.Event(), list[str]()
    tasks = [asyncio.create_task(occupy(pacing, host, done, entered)) for host in ("a", "a", "b", "b")]
    await turn_over()
    for task in reversed(tasks):
        task.cancel()
        await asyncio.wait({task})
        await turn_over()
    assert entered == ["a"]
    assert len(pacing) == 0
    async with pacing.slot("b", Deadline(60, Alarms())):
        assert pacing._places._free == 0


async def test_a_pause_that_comes_in_the_queue_is_heeded() -> None:
    """Whoever gets a place after its host has asked for rest gives it to others, and waits."""
    pacing, done, entered = Pacing(8, 1, 60), asyncio.Event(), list[str]()
    async with asyncio.TaskGroup() as group:
        for host in ("first", "paused", "other"):
            group.create_task(occupy(pacing, host, done, entered))
        await turn_over()
        pacing.pause("paused", 0.05)
        done.set()
    assert entered == ["first", "other", "paused"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Wed, 01 Jul 2026 12:00:30 GMT", 30.0),
        ("Wed, 01 Jul 2026 12:00:30 -0000", 30.0),
        ("Wed, 01 Jul 2026 11:00:00 GMT", 0.0),
        ("9" * 400, 999999999.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    """Both forms of RFC 9110 are understood; anything else counts as absent."""
    assert retry_after_seconds(value, NOW) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_raises(value: str) -> None:
    """A header of any text at all is either a time or nothing."""
    seconds = retry_after_seconds(value, NOW)
    assert seconds is None or seconds >= 0
