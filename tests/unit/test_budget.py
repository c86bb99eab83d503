"""Budgets: nobody exceeds them but the oldest, nobody waits for ever, and cancelling leaves no trace."""

from __future__ import annotations

import asyncio
import random

import pytest

from services.watcher.budget import Budget, Holding


async def turn_over() -> None:
    """Let every task run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_holdings_share_the_total() -> None:
    """What fits is granted at once, and all of it is free again at the end."""
    budget = Budget(10)
    async with budget.hold(6) as first, budget.hold() as second:
        assert second.try_grow(4)
        assert (first.units, second.units, budget.in_use) == (6, 4, 10)
    assert budget.in_use == 0


async def test_who_does_not_fit_waits_until_there_is_room() -> None:
    """A holding that does not fit waits, and goes on as soon as another ends."""
    budget = Budget(10)
    async with budget.hold(8), asyncio.TaskGroup() as group, budget.hold(1) as released:
        waiting = group.create_task(grown(budget, 2))
        await turn_over()
        assert budget.waiting == 1
        released.give_back()
        await waiting
    assert budget.in_use == 0


async def test_oldest_is_never_refused() -> None:
    """The oldest may exceed the total, so that it ends and makes room: no deadlock."""
    budget = Budget(10)
    async with budget.hold(5) as oldest, budget.hold(5) as younger:
        assert not younger.try_grow(1)
        assert oldest.try_grow(100)


async def test_next_oldest_inherits_the_privilege_while_it_waits() -> None:
    """When the oldest ends, the next one is served whatever it asks for and wherever in the queue it is."""
    budget = Budget(10)
    oldest, next_oldest, third = budget.hold(), budget.hold(), budget.hold()
    for holding, units in ((oldest, 4), (next_oldest, 3), (third, 3)):
        assert holding.try_grow(units)
    async with asyncio.TaskGroup() as group:
        waits_first = group.create_task(third.grow(5))
        await turn_over()
        group.create_task(next_oldest.grow(100))
        await turn_over()
        oldest.give_back()
        await turn_over()
        assert next_oldest.units == 103
        assert not waits_first.done()
        next_oldest.give_back()
    assert third.units == 8


async def test_age_begins_with_the_first_unit() -> None:
    """A holding without units is not the oldest: it may wait elsewhere, for ever, while others need to go on."""
    budget = Budget(10)
    async with budget.hold() as idle, budget.hold(10) as busy:
        assert busy.try_grow(1)
        assert not idle.try_grow(1)
        busy.give_back()
        assert idle.try_grow(11)


async def test_larger_than_the_total_waits_until_it_is_alone() -> None:
    """An image larger than the whole budget is worked on, alone; those behind it wait."""
    budget = Budget(10)
    entered: list[str] = []

    async def work(name: str, units: int, done: asyncio.Event) -> None:
        async with budget.hold(units):
            entered.append(f"{name} of {budget.in_use}")
            await done.wait()

    small, giant = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(work("small", 3, small))
        group.create_task(work("giant", 50, giant))
        group.create_task(work("late", 3, giant))
        await turn_over()
        assert entered == ["small of 3"]
        small.set()
        await turn_over()
        assert entered == ["small of 3", "giant of 50"]
        giant.set()
    assert entered == ["small of 3", "giant of 50", "late of 3"]


async def test_first_come_first_served() -> None:
    """A small one does not overtake those that wait, or a large one would never have its turn."""
    budget = Budget(10)
    served: list[int] = []

    async def wait_for(units: int) -> None:
        async with budget.hold(units):
            served.append(units)

    async with asyncio.TaskGroup() as group, budget.hold(9):
        for units in (8, 1, 7):
            group.create_task(wait_for(units))
        await turn_over()
        assert served == []
    assert served == [8, 1, 7]


async def test_cancelled_wait_lets_others_move_up() -> None:
    """Cancelling the head of the queue frees its place at once and leaves nothing held."""
    budget = Budget(10)
    async with budget.hold(5):
        head = asyncio.create_task(grown(budget, 9))
        behind = asyncio.create_task(grown(budget, 5))
        await turn_over()
        head.cancel()
        with pytest.raises(asyncio.CancelledError):
            await head
        await behind
    assert (budget.in_use, budget.waiting) == (0, 0)


async def test_grant_and_cancellation_at_once_leave_nothing_held() -> None:
    """If the units come in the very moment of the cancellation, they are given back."""
    for grant_first in (True, False):
        budget = Budget(10)
        holder = budget.hold()
        assert holder.try_grow(10)
        waiting = asyncio.create_task(grown(budget, 4))
        await turn_over()
        for step in (holder.give_back, waiting.cancel)[:: 1 if grant_first else -1]:
            step()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (budget.in_use, budget.waiting) == (0, 0)


@pytest.mark.parametrize("seed", range(20))
async def test_crowd_neither_exceeds_nor_stalls(seed: int) -> None:
    """Whatever a crowd asks for, and whoever is cancelled, all end, and only the oldest exceeds the total."""
    rng = random.Random(seed)
    budget = Budget(100)

    async def work() -> None:
        async with budget.hold() as holding:
            for _ in range(rng.randint(1, 6)):
                await holding.grow(rng.randint(1, 60))
                check(budget)
                await asyncio.sleep(0)

    tasks = [asyncio.create_task(work()) for _ in range(60)]
    await asyncio.sleep(0)
    for victim in rng.sample(tasks, 15):
        victim.cancel()
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert (budget.in_use, budget.waiting) == (0, 0)


def test_budget_of_nothing_is_refused() -> None:
    """A budget without a unit would let nobody work."""
    with pytest.raises(ValueError, match="at least one unit"):
        Budget(0)


async def grown(budget: Budget, units: int) -> None:
    async with budget.hold(units):
        pass


def check(budget: Budget) -> None:
    ages: list[Holding] = list(budget._by_age)
    assert sum(holding.units for holding in ages) == budget.in_use
    assert budget.in_use - ages[0].units <= budget.total


async def test_units_that_become_free_in_the_moment_of_a_cancellation_are_not_lost() -> None:
    """A waiter is cancelled and, before its task runs again, units are given back: the next waiter gets them."""
    budget = Budget(10)
    served: list[str] = []

    async def hold(name: str) -> None:
        async with budget.hold(6):
            served.append(name)

    holding = budget.hold()
    assert holding.try_grow(10)
    cancelled, after = asyncio.create_task(hold("cancelled")), asyncio.create_task(hold("after"))
    for _ in range(5):
        await asyncio.sleep(0)
    cancelled.cancel()
    holding.give_back()
    results = await asyncio.gather(cancelled, after, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, type(None)]
    assert served == ["after"]
    assert budget.in_use == 0
