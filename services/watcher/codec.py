"""The threads that decode and encode, beside the event loop.

A pool of `concurrent.futures` would do the same, but takes 60 µs of the loop's time for a job, where a small photograph
is compressed in 300.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")


class CodecStuck(Exception):
    """A decoder does not come back: its thread cannot be stopped, only the process can."""


@dataclass(slots=True, eq=False)
class _Job:
    work: Callable[[], Any]
    future: asyncio.Future[Any]
    started: float | None = None
    result: Any = None
    error: BaseException | None = None


class Codec:
    """Runs jobs, in the order of their coming; results that are ready together wake the loop once."""

    def __init__(self, threads: int, seconds: float) -> None:
        """Start `threads`, for the running loop. A job may take `seconds` from when a thread takes it up."""
        self.threads = threads
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[_Job | None] = SimpleQueue()
        self._done: deque[_Job] = deque()
        self._rung = False
        for number in range(threads):
            # Daemons: one that is stuck must not keep the process alive.
            threading.Thread(target=self._work, name=f"codec_{number}", daemon=True).start()

    async def run(self, work: Callable[[], Result]) -> Result:
        """Return what `work` returns, done by a thread; raises what it raises, or `CodecStuck`."""
        job = _Job(work, self._loop.create_future())
        watch = self._loop.call_later(self._seconds, self._watch, job)
        self._waiting.put(job)
        try:
            result: Result = await job.future
        finally:
            watch.cancel()
        return result

    def close(self) -> None:
        """Let the threads end once they have done what waits; nobody is told of it any more."""
        for _ in range(self.threads):
            self._waiting.put(None)

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            if job.future.cancelled():
                continue
            job.started = self._loop.time()
            try:
                job.result = job.work()
            except BaseException as error:  # whoever awaits it is told
                job.error = error
            self._done.append(job)
            del job  # a thread that waits for the next picture must not hold on to the last one
            self._ring()

    def _ring(self) -> None:
        if self._rung:
            return  # the loop has yet to look, and will find this as well
        self._rung = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            return  # the loop is closed: nobody waits

    def _deliver(self) -> None:
        self._rung = False  # before looking: what is ready from here on rings again
        while self._done:
            job = self._done.popleft()
            if job.future.done():
                continue
            if job.error is None:
                job.future.set_result(job.result)
            else:
                job.future.set_exception(job.error)

    def _watch(self, job: _Job) -> None:
        """Look whether a job has come back in time; a job that waited behind others gets its full time."""
        if job.future.done():
            return
        left = self._seconds if job.started is None else job.started + self._seconds - self._loop.time()
        if left > 0:
            self._loop.call_later(left, self._watch, job)
        else:
            job.future.set_exception(CodecStuck(f"a decoder has not come back for {self._seconds:g} s"))
