"""The same thing is not made twice at once, and nobody is left without it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from imagepress.errors import ImageError
from services.watcher.in_flight import InFlight


class Making:
    """Work that ends when it is told to: `calls` has a future for each time it was begun."""

    def __init__(self) -> None:
        """Begin with nothing begun."""
        self.calls: list[asyncio.Future[str]] = []

    async def __call__(self) -> str:
        """Work until told."""
        self.calls.append(asyncio.get_running_loop().create_future())
        return await self.calls[-1]


async def turn_over() -> None:
    """Let every task run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def ask(flight: InFlight[str], key: str, make: Callable[[], Awaitable[str]]) -> asyncio.Task[tuple[str, bool]]:
    return asyncio.create_task(flight.once(key, make))


async def test_what_is_under_way_is_made_once() -> None:
    """Three ask for the same at once: one makes it and all get it; then nothing is remembered."""
    flight, making = InFlight[str](), Making()
    tasks = [ask(flight, "a", making) for _ in range(3)]
    await turn_over()
    making.calls[0].set_result("made")
    assert [await task for task in tasks] == [("made", True), ("made", False), ("made", False)]
    assert (len(making.calls), len(flight)) == (1, 0)


async def test_other_things_and_later_times_are_made_anew() -> None:
    """Another key does not wait, and what is done is not kept."""
    flight, making = InFlight[str](), Making()
    for number, key in enumerate(("a", "b")):
        task = ask(flight, key, making)
        await turn_over()
        assert len(making.calls) == number + 1
        if key == "b":
            making.calls[1].set_result("b")
            assert await task == ("b", True)
    making.calls[0].set_result("a")
    await turn_over()
    again = ask(flight, "a", making)
    await turn_over()
    making.calls[2].set_result("anew")
    assert await again == ("anew", True)


async def test_an_image_error_is_everybodys() -> None:
    """What is wrong with the image is told to all who wait, each by an error of its own."""
    flight, making = InFlight[str](), Making()
    tasks = [ask(flight, "a", making) for _ in range(3)]
    await turn_over()
    making.calls[0].set_exception(ImageError("http_404", "there is none"))
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(error) for error in errors] == ["there is none"] * 3
    assert len({id(error) for error in errors}) == 3
    assert all(isinstance(error, ImageError) and error.code == "http_404" for error in errors)


@pytest.mark.parametrize("ending", ["cancelled", "failed"])
async def test_who_waited_goes_on_where_the_first_broke_off(ending: str) -> None:
    """A maker that is cancelled, or fails for reasons of its own, leaves the work to the next."""
    flight, making = InFlight[str](), Making()
    first, second, third = (ask(flight, "a", making) for _ in range(3))
    await turn_over()
    if ending == "cancelled":
        first.cancel()
    else:
        making.calls[0].set_exception(OSError("the disk is full"))
    with pytest.raises(asyncio.CancelledError if ending == "cancelled" else OSError):
        await first
    await turn_over()
    making.calls[1].set_result("made")
    assert sorted([await second, await third]) == [("made", False), ("made", True)]
    assert len(flight) == 0


async def test_a_waiter_that_is_cancelled_disturbs_nobody() -> None:
    """The one who makes it and the others who wait go on."""
    flight, making = InFlight[str](), Making()
    first, second, third = (ask(flight, "a", making) for _ in range(3))
    await turn_over()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    making.calls[0].set_result("made")
    assert [await first, await third] == [("made", True), ("made", False)]
