"""The codec's threads: order, errors, a job that never comes back, and the end."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from functools import partial

import pytest

from deploy.local.processes import eventually
from services.watcher.codec import QUICK_WAITING, TOGETHER, WAITING, Codec, CodecStuck


class Picture:
    """Something whose end can be seen."""


def _same(picture: Picture) -> Picture:
    return picture


async def test_jobs_come_back_with_what_they_made() -> None:
    """Many at once over few threads: each caller gets the result of its own job."""
    codec = Codec(2, seconds=10)
    results = await asyncio.gather(*(codec.run(partial(pow, n, 2)) for n in range(500)))
    codec.close()
    assert results == [n * n for n in range(500)]


async def test_one_thread_takes_jobs_in_the_order_of_their_coming() -> None:
    """With one thread, jobs run one after the other, oldest first."""
    codec, ran = Codec(1, seconds=10), list[int]()
    await asyncio.gather(*(codec.run(partial(ran.append, n)) for n in range(50)))
    codec.close()
    assert ran == list(range(50))


async def test_what_a_job_raises_reaches_its_caller_alone() -> None:
    """An error goes to whoever awaits the job; the thread goes on with the next."""
    codec = Codec(1, seconds=10)
    failed, worked = await asyncio.gather(codec.run(lambda: 1 // 0), codec.run(lambda: 1), return_exceptions=True)
    codec.close()
    assert isinstance(failed, ZeroDivisionError)
    assert worked == 1


async def test_a_job_that_does_not_come_back_is_said_to_be_stuck() -> None:
    """`CodecStuck` after the time that a job has."""
    codec, never = Codec(1, seconds=0.05), threading.Event()
    with pytest.raises(CodecStuck, match=r"0\.05 s"):
        await codec.run(never.wait)
    never.set()
    codec.close()


async def test_nothing_is_begun_behind_a_job_that_does_not_come_back() -> None:
    """Who waits for the stuck thread is told, although the caller of the stuck job has gone; so is who comes later."""
    codec, never = Codec(1, seconds=0.2), threading.Event()
    first = asyncio.create_task(codec.run(never.wait))
    await asyncio.sleep(0.02)
    first.cancel()
    behind = asyncio.create_task(codec.run(lambda: 1))
    with pytest.raises(CodecStuck):
        await asyncio.wait_for(behind, 5)
    with pytest.raises(CodecStuck):
        await codec.run(lambda: 1)
    never.set()
    codec.close()


async def test_what_was_done_before_a_job_got_stuck_is_told() -> None:
    """Results that were to be told together with a quick job's are told without it."""
    codec, begin, never = Codec(1, seconds=0.2), threading.Event(), threading.Event()
    done = asyncio.create_task(codec.run(begin.wait, is_quick=True))
    stuck = asyncio.create_task(codec.run(never.wait, is_quick=True))
    await asyncio.sleep(0)
    begin.set()
    assert await asyncio.wait_for(done, 5)
    with pytest.raises(CodecStuck):
        await stuck
    never.set()
    codec.close()


async def test_time_spent_waiting_for_a_thread_does_not_count() -> None:
    """A job behind a long one is not stuck: its time begins when a thread takes it up."""
    codec, go_on = Codec(1, seconds=0.3), threading.Event()
    ended = await asyncio.gather(*(codec.run(lambda: go_on.wait(0.2)) for _ in range(3)))
    assert not any(ended)  # 0.6 s together, none over 0.3; the third began after 0.4
    codec.close()


async def test_a_job_whose_caller_has_gone_is_not_begun() -> None:
    """A batch that was lost leaves no work for the threads behind."""
    codec, go_on, ran = Codec(1, seconds=10), threading.Event(), list[int]()
    first = asyncio.create_task(codec.run(go_on.wait))
    second = asyncio.create_task(codec.run(lambda: ran.append(2)))
    await asyncio.sleep(0)  # both are queued
    second.cancel()
    await asyncio.wait({second})
    go_on.set()
    assert await first
    await codec.run(lambda: ran.append(3))
    codec.close()
    assert ran == [3]


@pytest.mark.parametrize("is_quick", [False, True])
async def test_callers_that_have_gone_keep_nobody_out(is_quick: bool) -> None:
    """However many gave up, wherever they waited, whoever comes later has a place."""
    codec, go_on = Codec(1, seconds=10), threading.Event()
    first = asyncio.create_task(codec.run(go_on.wait))
    gone = [asyncio.create_task(codec.run(partial(int, 1), is_quick=is_quick)) for _ in range(3 * QUICK_WAITING)]
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    later = asyncio.create_task(codec.run(partial(int, 2), is_quick=is_quick))
    await asyncio.sleep(0)
    go_on.set()
    assert await asyncio.wait_for(later, 5) == 2
    assert await first
    codec.close()


async def test_callers_that_have_gone_leave_nothing_behind() -> None:
    """What their jobs would have worked on is free at once: nobody counts its bytes any more."""
    codec, go_on = Codec(1, seconds=10), threading.Event()
    first = asyncio.create_task(codec.run(go_on.wait))
    pictures = [Picture() for _ in range(50)]
    gone = [asyncio.create_task(codec.run(partial(_same, picture), "batch")) for picture in pictures]
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    await asyncio.wait(gone)
    seen = weakref.WeakSet(pictures)
    gone.clear()
    pictures.clear()
    del task
    gc.collect()
    assert len(seen) <= WAITING  # those where a thread finds them
    go_on.set()
    await first
    codec.close()


async def test_all_who_wait_behind_a_stuck_job_are_told() -> None:
    """Those where a thread would have found them, and those behind them."""
    codec, never = Codec(1, seconds=0.2), threading.Event()
    waiting = [asyncio.create_task(codec.run(never.wait)) for _ in range(4 * WAITING)]
    waiting += [asyncio.create_task(codec.run(never.wait, is_quick=True)) for _ in range(2 * QUICK_WAITING)]
    ended = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
    assert {type(one) for one in ended} == {CodecStuck}
    never.set()
    codec.close()


async def test_a_few_quick_jobs_are_told_together() -> None:
    """The loop is woken once for several quick results, and for the last ones when nothing else waits."""
    codec, go_on, told = Codec(1, seconds=10), threading.Event(), list[int]()
    first = asyncio.create_task(codec.run(go_on.wait))
    await asyncio.sleep(0)
    quick = [asyncio.create_task(codec.run(partial(int, n), is_quick=True)) for n in range(2 * TOGETHER + 1)]
    ring = codec._deliver

    def deliver() -> None:
        told.append(len(codec._done))
        ring()

    codec._deliver = deliver  # type: ignore[method-assign]  # only to see how often it is called
    await asyncio.sleep(0)
    go_on.set()
    threading.Event().wait(0.2)  # the loop is kept from looking meanwhile
    assert await asyncio.gather(first, *quick) == [True, *range(2 * TOGETHER + 1)]
    codec.close()
    assert told[0] >= TOGETHER
    assert len(told) <= 3


async def test_a_result_does_not_wait_for_a_slow_job() -> None:
    """What is done is told before a job begins that has not promised to be quick."""
    codec, begin, go_on = Codec(1, seconds=10), threading.Event(), threading.Event()
    quick = asyncio.create_task(codec.run(begin.wait, is_quick=True))
    slow = asyncio.create_task(codec.run(go_on.wait))
    await asyncio.sleep(0)
    begin.set()
    assert await asyncio.wait_for(quick, 5)
    assert not slow.done()
    go_on.set()
    assert await slow
    codec.close()


async def test_slow_and_quick_jobs_wait_in_places_of_their_own_by_turns() -> None:
    """A newcomer's job runs before most of a giant's that came first, and pictures do not keep thumbnails out."""
    codec, go_on, ran = Codec(1, seconds=10), threading.Event(), list[str]()
    blocked = asyncio.create_task(codec.run(go_on.wait, "giant"))
    giants = [asyncio.create_task(codec.run(partial(ran.append, "giant"), "giant")) for _ in range(4 * WAITING)]
    await asyncio.sleep(0)
    small = asyncio.create_task(codec.run(partial(ran.append, "small"), "small"))
    thumbnail = asyncio.create_task(codec.run(partial(ran.append, "thumbnail"), "other", is_quick=True))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(blocked, *giants, small, thumbnail)
    codec.close()
    assert ran[:WAITING] == ["giant"] * WAITING
    assert ran.index("thumbnail") == WAITING
    assert ran.index("small") <= WAITING + 2


async def test_an_idle_thread_holds_on_to_nothing() -> None:
    """What a job was given and made is free as soon as its caller lets go of it."""
    codec = Codec(1, seconds=10)
    picture = Picture()
    seen = weakref.ref(await codec.run(partial(_same, picture)))
    del picture

    async def is_gone() -> bool:
        gc.collect()
        return seen() is None

    await eventually(is_gone, 5)
    codec.close()


async def test_the_threads_end_when_they_are_told_to() -> None:
    """`close` lets every thread end once its work is done."""
    before = {thread for thread in threading.enumerate() if thread.name.startswith("codec_")}
    codec = Codec(3, seconds=10)
    ours = {thread for thread in threading.enumerate() if thread.name.startswith("codec_")} - before
    assert len(ours) == 3
    codec.close()
    for thread in ours:
        thread.join(5)
    assert not any(thread.is_alive() for thread in ours)
