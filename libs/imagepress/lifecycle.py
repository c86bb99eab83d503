"""One stop event, and every wait races it. A service runs until a signal, then has time to finish what it holds.

First SIGTERM or SIGINT: stop softly. Second one, or the drain deadline: cancel. Unexpected death of any task: loud.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from imagepress import logs, tracing
from imagepress.errors import StartupError

log = logs.get(__name__)
Result = TypeVar("Result")

DRAIN_MARGIN_SECONDS = 5.0
"""What a service may take beyond its own drain deadline before it is cancelled: the last writes to the database."""


class Stopped(Exception):
    """The stop came before there was anything to stop."""


class Stop:
    """The stop event of a process."""

    def __init__(self) -> None:
        """Not set yet."""
        self._event = asyncio.Event()

    @property
    def is_set(self) -> bool:
        """Whether to stop."""
        return self._event.is_set()

    def set(self) -> None:
        """Ask everything to stop."""
        self._event.set()

    async def wait(self, timeout: float | None = None) -> bool:
        """Sleep until the stop or for `timeout` seconds; return whether it is time to stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), timeout)
        return self.is_set

    async def race(self, wait: Coroutine[Any, Any, Result], timeout: float | None = None) -> Result | None:
        """Await `wait`, but no longer than the stop or `timeout` seconds; None where it did not finish.

        For waits that may be cancelled without loss (an event, a queue), never for work.
        """
        racer = asyncio.ensure_future(wait)
        stopper = asyncio.ensure_future(self._event.wait())
        try:
            done, _ = await asyncio.wait({racer, stopper}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            return racer.result() if racer in done else None
        finally:
            racer.cancel()
            stopper.cancel()


async def _begun(main: Callable[[Stop], Awaitable[None]], stop: Stop) -> None:
    try:
        await main(stop)
    except* Stopped:
        log.info("stopped before the start was over")


async def _guarded(
    main: Callable[[Stop], Awaitable[None]], drain_seconds: float, signals: tuple[signal.Signals, ...]
) -> int:
    stop = Stop()
    received = 0
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(_begun(main, stop))

    def on_signal(name: str) -> None:
        nonlocal received
        received += 1
        if received > 1:
            log.warning("second signal, stopping at once", signal=name)
            task.cancel()
        else:
            log.info("stopping", signal=name)
            stop.set()

    for number in signals:
        loop.add_signal_handler(number, on_signal, number.name)
    stopper = asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopper}, return_when=asyncio.FIRST_COMPLETED)
    done, _ = await asyncio.wait({task}, timeout=drain_seconds + DRAIN_MARGIN_SECONDS)
    if not done:
        log.error("still busy after the drain deadline, cancelling", drain_seconds=drain_seconds)
        task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return 1
    finally:
        stopper.cancel()
    log.info("stopped")
    return 0


def run_service(
    main: Callable[[Stop], Awaitable[None]],
    *,
    drain_seconds: float,
    signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT),
) -> int:
    """Run `main(stop)` until it ends or one of `signals` comes; return the exit status.

    A `StartupError` is printed as a sentence, without a traceback; anything else that ends a task is logged whole.
    """
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_guarded(main, drain_seconds, signals))
    except* StartupError as group:
        for error in _leaves(group):
            log.error("cannot start", problem=str(error))
    except* Exception:
        log.exception("a task died, so the service stops")
    finally:
        tracing.close()
    return 1


def leave(status: int) -> NoReturn:
    """End the process now. The driver's exit hook would wait for its monitors, each asleep for up to half a second."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return leaves


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
