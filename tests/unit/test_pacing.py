"""Pacing: a host is asked by few at a time and not at all during its pause, and others do not notice."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagepress.outbound import retry_after_seconds
from services.watcher.pacing import Pacing, standing_still

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
    async with pacing.slot(host, turn_of=turn_of):
        entered.append(name or host)
        await until.wait()


async def test_slots_of_a_host_are_limited_and_given_in_order() -> None:
    """At most `per_host` are inside; the others follow first come, first served."""
    pacing, done, entered = Pacing(2, 60), asyncio.Event(), list[str]()
    async with asyncio.TaskGroup() as group:
        for name in "abcd":
            group.create_task(occupy(pacing, "host", done, entered, name))
        await turn_over()
        assert entered == ["a", "b"]
        done.set()
    assert entered == ["a", "b", "c", "d"]


async def test_batches_take_turns_at_a_host() -> None:
    """An image of a small batch does not wait behind all those of a giant one that came before it."""
    pacing, done, entered = Pacing(1, 60), asyncio.Event(), list[str]()
    async with asyncio.TaskGroup() as group:
        for name in ("giant 1", "giant 2", "giant 3", "giant 4", "small"):
            turn_of = name.partition(" ")[0]
            group.create_task(occupy(pacing, "host", done, entered, name, turn_of))
        await turn_over()
        done.set()
    assert entered == ["giant 1", "giant 2", "small", "giant 3", "giant 4"]


async def test_full_host_does_not_hold_others_up() -> None:
    """While one host's slots are taken, another host's are free."""
    pacing, done, entered = Pacing(1, 60), asyncio.Event(), list[str]()
    async with asyncio.TaskGroup() as group:
        for host in ("slow", "slow", "other"):
            group.create_task(occupy(pacing, host, done, entered))
        await turn_over()
        assert entered == ["slow", "other"]
        done.set()


async def test_hosts_are_forgotten_when_idle() -> None:
    """Nothing is remembered of a host that nobody uses, however its users left."""
    pacing, done, entered = Pacing(1, 60), asyncio.Event(), list[str]()
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
    pacing, done, entered = Pacing(1, 60), asyncio.Event(), list[str]()
    first, victim, last = (asyncio.create_task(occupy(pacing, "host", done, entered, name)) for name in "abc")
    await turn_over()
    victim.cancel()
    done.set()
    await asyncio.gather(first, last)
    assert entered == ["a", "c"]


async def test_paused_host_gives_no_slot_until_the_pause_ends() -> None:
    """A pause lasts as long as the host asked for, and stops nobody else."""
    pacing, loop = Pacing(8, 60), asyncio.get_running_loop()
    pacing.pause("host", 0.05)
    started = loop.time()
    async with pacing.slot("other"):
        assert loop.time() - started < 0.04
    async with pacing.slot("host"):
        assert loop.time() - started >= 0.049
    assert len(pacing) == 0


def test_pause_is_capped_and_never_shortened() -> None:
    """A host cannot park our work for days, and a later, shorter request does not cut a pause short."""
    clock = Clock()
    pacing = Pacing(8, 60, clock)
    pacing.pause("host", 1e9)
    pacing.pause("host", 5)
    assert pacing.pause_left("host") == 60
    clock.now += 60
    assert pacing.pause_left("host") == 0
    assert len(pacing) == 0


def test_pauses_of_countless_hosts_stay_bounded() -> None:
    """A CSV of a hundred thousand hosts that all ask for a pause does not fill the memory; the latest are kept."""
    pacing = Pacing(8, 60, Clock())
    for number in range(25_000):
        pacing.pause(f"host{number}", 30)
    assert len(pacing) <= 10_000
    assert pacing.pause_left("host24999") == 30


async def test_deadline_stands_still_while_the_wait_is_ours() -> None:
    """Time in our own queue does not count against a fetch, and gives it no more than it had."""
    async with asyncio.timeout(0.05) as deadline:
        with standing_still(deadline):
            await asyncio.sleep(0.08)
        left = (deadline.when() or 0.0) - asyncio.get_running_loop().time()
        assert 0 < left <= 0.05


async def test_queue_does_not_use_up_the_deadline_but_a_pause_does() -> None:
    """Waiting for a slot is free of charge; waiting because the host asked for it is not."""
    pacing, entered = Pacing(1, 60), list[str]()
    done = asyncio.Event()
    first = asyncio.create_task(occupy(pacing, "host", done, entered))
    await turn_over()
    asyncio.get_running_loop().call_later(0.06, done.set)
    async with asyncio.timeout(0.03) as deadline, pacing.slot("host", deadline):
        pass
    await first
    pacing.pause("host", 10)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.03) as deadline, pacing.slot("host", deadline):
            pass
    assert len(pacing) == 1  # the pause alone


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
