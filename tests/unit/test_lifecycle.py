"""The stop event, and how a service process begins and ends."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
import structlog
from structlog.testing import capture_logs

from imagepress.errors import StartupError
from imagepress.lifecycle import Stop, run_service
from imagepress.retry import Backoff, Trouble


async def test_a_race_ends_with_the_first_of_wait_stop_and_timeout() -> None:
    """The result of what was waited for, or None where the stop or the timeout was first."""

    async def result() -> str:
        return "done"

    stop = Stop()
    assert await stop.race(result()) == "done"
    assert await stop.race(asyncio.Event().wait(), timeout=0.001) is None
    asyncio.get_running_loop().call_soon(stop.set)
    assert await stop.race(asyncio.Event().wait()) is None
    assert await stop.wait()


def test_a_signal_stops_a_service_softly() -> None:
    """After SIGTERM the service finishes what it does, and exits with 0."""
    finished = []

    async def main(stop: Stop) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        finished.append(True)

    assert run_service(main, drain_seconds=5) == 0
    assert finished == [True]


def test_a_second_signal_stops_at_once() -> None:
    """What does not stop softly is cancelled by the second signal, and the exit status says so."""

    async def main(stop: Stop) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    assert run_service(main, drain_seconds=60) == 1


@pytest.mark.parametrize("error", [StartupError("no database"), RuntimeError("a bug")])
def test_a_service_that_fails_exits_with_1(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """A start-up error is told as a sentence, without a traceback; a bug with one."""

    async def main(_stop: Stop) -> None:
        raise error

    assert run_service(main, drain_seconds=1) == 1
    said = "".join(capsys.readouterr())
    assert str(error) in said
    assert ("Traceback" in said) == isinstance(error, RuntimeError)


def test_backoff_doubles_with_jitter_up_to_its_limit() -> None:
    """Each delay lies between half and the whole of a bound that doubles; a success resets it."""
    backoff = Backoff(first=1, longest=8)
    for bound in (1, 2, 4, 8, 8):
        assert bound / 2 <= backoff.delay() <= bound
    backoff.reset()
    assert backoff.delay() <= 1


def test_trouble_is_told_when_it_begins_and_when_it_is_over() -> None:
    """Of a fault that lasts, the log has two lines, however often it was met."""
    with capture_logs() as lines:
        trouble = Trouble(structlog.get_logger(), "claiming")
        for _ in range(5):
            trouble.note(RuntimeError("away"))
        trouble.over()
        trouble.over()
    assert [line["event"] for line in lines] == ["claiming is paused", "claiming goes on"]
    assert lines[1]["after_failures"] == 5


def test_trouble_that_comes_back_at_once_was_not_over() -> None:
    """What works between two faults is no end: it is over with what works some time after the last of them."""
    times = iter([10.0, 10.1, 11.5, 11.6, 13.0, 13.1, 15.0])  # a fault and a success, three times; then a success
    with capture_logs() as lines:
        trouble = Trouble(structlog.get_logger(), "claiming", settle_seconds=2, clock=lambda: next(times))
        for _ in range(3):
            trouble.note(RuntimeError("away"))
            trouble.over()
        assert [line["event"] for line in lines] == ["claiming is paused"]
        trouble.over()
    assert [line["event"] for line in lines] == ["claiming is paused", "claiming goes on"]
