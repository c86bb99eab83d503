"""The threads that decode and encode, beside the event loop.

A pool of `concurrent.futures` would do the same, but takes 60 µs of the loop's time for a job, where a small photograph
is compressed in 300.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from services.watcher.turns import RoundRobin

Result = TypeVar("Result")

WAITING: Final = 3
"""Jobs that wait where a thread finds them: what waits here is out of its turn. These are some 15 ms of megapixels."""

QUICK_WAITING: Final = 32
"""The same for quick jobs, of about a millisecond. With fewer, thread and loop wait for each other at every one."""

TOGETHER: Final = 16
"""Quick jobs of which the loop is told at once: to be woken for each costs it a tenth of a small image's time."""

LOOKS: Final = 10
"""How often the threads are looked after, in the time that a job may take."""


class CodecStuck(Exception):
    """A decoder does not come back: its thread cannot be stopped, only the process can."""


@dataclass(slots=True, eq=False)
class _Job:
    work: Callable[[], Any]
    future: asyncio.Future[Any]
    line: _Line
    started: float = 0.0
    result: Any = None
    error: BaseException | None = None


class _Line:
    """Jobs of one kind. A few are at work, or where a thread finds them; the others wait behind these, by turns.

    The loop moves the next ones up when it is told of what is done: to wake their tasks for it would cost more.
    """

    def __init__(self, places: int, waiting: SimpleQueue[_Job | None], *, is_quick: bool) -> None:
        self.is_quick = is_quick
        self._free = places
        self._waiting = waiting
        self._behind = RoundRobin[_Job]()

    def join(self, job: _Job, turn_of: str) -> None:
        """Let `job` wait behind the others of its batch."""
        self._behind.put(turn_of, job)
        self._move_up()

    def leave(self) -> None:
        """A thread is done with one of the few: the next moves up."""
        self._free += 1
        self._move_up()

    def _move_up(self) -> None:
        while self._free and self._behind:
            job = self._behind.take()
            if not job.future.done():  # else its caller has gone
                self._free -= 1
                self._waiting.put(job)

    def forget(self, job: _Job, turn_of: str) -> None:
        """Hold on to `job` no more, if it still waits behind: its caller has gone, and no longer counts its bytes."""
        self._behind.discard(turn_of, job)

    def dissolve(self) -> list[_Job]:
        """Return those who wait behind; nobody waits any more."""
        jobs = []
        while self._behind:
            jobs.append(self._behind.take())
        return jobs


class Codec:
    """Runs jobs, batches by turns. A result waits for nothing but a few quick jobs."""

    def __init__(self, threads: int, seconds: float) -> None:
        """Start `threads`, for the running loop. A job may take `seconds` from when a thread takes it up."""
        self.threads = threads
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[_Job | None] = SimpleQueue()
        self._line = _Line(threads + WAITING, self._waiting, is_quick=False)
        self._quick_line = _Line(threads + QUICK_WAITING, self._waiting, is_quick=True)
        self._working: list[_Job | None] = [None] * threads
        self._done: deque[_Job] = deque()
        self._rung = False
        self._is_stuck = False
        for number in range(threads):
            # Daemons: one that is stuck must not keep the process alive.
            threading.Thread(target=self._work, args=(number,), name=f"codec_{number}", daemon=True).start()
        self._look_after()

    async def run(self, work: Callable[[], Result], turn_of: str = "", *, is_quick: bool = False) -> Result:
        """Return what `work` returns, done by a thread; raises what it raises, or `CodecStuck`: it is, or another.

        `turn_of` says which batch asks. `is_quick` promises that it takes about a millisecond: results wait for it.
        """
        if self._is_stuck:
            raise self._stuck()
        line = self._quick_line if is_quick else self._line
        job = _Job(work, self._loop.create_future(), line)
        line.join(job, turn_of)
        try:
            result: Result = await job.future
        except asyncio.CancelledError:
            line.forget(job, turn_of)
            raise
        return result

    def close(self) -> None:
        """Let the threads end once they have done what waits; nobody is told of it any more."""
        self._next_look.cancel()
        for _ in range(self.threads):
            self._waiting.put(None)

    def _work(self, number: int) -> None:
        while (job := self._next()) is not None:
            if not job.future.cancelled():
                self._carry_out(number, job)
            self._done.append(job)
            del job  # a thread that waits for the next picture must not hold on to the last one

    def _carry_out(self, number: int, job: _Job) -> None:
        job.started = self._loop.time()
        self._working[number] = job
        try:
            job.result = job.work()
        except BaseException as error:  # whoever awaits it is told
            job.error = error
        self._working[number] = None

    def _next(self) -> _Job | None:
        """Wait for the next job; None at the end. The loop is told first of what is done, unless that can wait."""
        try:
            job = self._waiting.get_nowait()
        except Empty:
            self._ring()
            return self._waiting.get()
        if job is None or not job.line.is_quick or len(self._done) >= TOGETHER:
            self._ring()
        return job

    def _ring(self) -> None:
        if self._rung or not self._done:
            return  # the loop has yet to look, and will find this as well; or there is nothing to find
        self._rung = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            return  # the loop is closed: nobody waits

    def _deliver(self) -> None:
        self._rung = False  # before looking: what is ready from here on rings again
        while self._done:
            job = self._done.popleft()
            job.line.leave()
            if job.future.done():
                continue
            if job.error is None:
                job.future.set_result(job.result)
            else:
                job.future.set_exception(job.error)

    def _look_after(self) -> None:
        """Look later again, unless a job has taken too long: then nothing will come of any, and nothing is begun."""
        self._deliver()
        latest = self._loop.time() - self._seconds
        stuck = [job for job in self._working if job is not None and job.started < latest]
        if not stuck:
            self._next_look = self._loop.call_later(self._seconds / LOOKS, self._look_after)
            return
        self._is_stuck = True
        with suppress(Empty):
            while (job := self._waiting.get_nowait()) is not None:
                stuck.append(job)
        for job in (*stuck, *self._line.dissolve(), *self._quick_line.dissolve()):
            if not job.future.done():  # else its caller has gone meanwhile
                job.future.set_exception(self._stuck())

    def _stuck(self) -> CodecStuck:
        return CodecStuck(f"a decoder has not come back for {self._seconds:g} s")
