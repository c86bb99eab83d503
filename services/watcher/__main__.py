"""`python -m services.watcher`: the watcher service, or (with an option) one of the processes that it starts itself."""

from __future__ import annotations

import argparse
import os
import signal
import tempfile

from imagepress import logs, tracing
from imagepress.errors import StartupError, TransientError
from imagepress.lifecycle import Stop, leave, run_service
from imagepress.settings import load
from services.watcher.settings import WatcherSettings

log = logs.get(__name__)


def main() -> int:
    """Run the service or one of its processes; return the exit status."""
    asked = _arguments()
    logs.configure(service="watcher", level="INFO", log_format=None)
    try:
        settings = load(WatcherSettings)
        tracing.configure(service="watcher", enabled=settings.tracing)
    except StartupError as error:
        log.error("cannot start", problem=str(error))
        return 1
    logs.configure(service="watcher", level=settings.log_level, log_format=settings.log_format)
    if asked.worker:
        return _worker(settings)
    if asked.quarantine:
        return _quarantine(settings, *asked.quarantine)
    return _supervisor(settings)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m services.watcher", description=__doc__)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    kind.add_argument("--quarantine", nargs=2, metavar=("BATCH", "TOKEN"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _supervisor(settings: WatcherSettings) -> int:
    # The processes of the service count in files of one folder, which prometheus_client looks for when it is imported:
    # hence the late import.
    with tempfile.TemporaryDirectory(prefix="imagepress-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        from services.watcher.supervisor import supervise

        return run_service(lambda stop: supervise(settings, stop), drain_seconds=settings.drain_seconds)


def _worker(settings: WatcherSettings) -> int:
    from services.watcher import worker
    from services.watcher.codec import CodecStuck

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the supervisor passes it on in order
    stuck: list[CodecStuck] = []

    async def work(stop: Stop) -> None:
        try:
            await worker.work(settings, stop)
        except* CodecStuck as group:
            stuck.extend(error for error in group.exceptions if isinstance(error, CodecStuck))

    status = run_service(work, drain_seconds=settings.drain_seconds, signals=(signal.SIGTERM,))
    if stuck:
        log.error("this process ends because of it", problem=str(stuck[0]))
        os._exit(70)  # a thread that never returns would keep the interpreter from ending
    return status


def _quarantine(settings: WatcherSettings, batch_id: str, token: str) -> int:
    from services.watcher import quarantine, worker
    from services.watcher.codec import CodecStuck
    from services.watcher.queries import LeaseLost

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stuck = False

    async def work(stop: Stop) -> None:
        nonlocal stuck
        async with worker.tools(settings) as tools:
            try:
                await quarantine.work(settings, tools, stop, batch_id, token)
            except LeaseLost:
                log.warning("the lease of the batch in quarantine was lost", batch=batch_id)
            except CodecStuck as error:
                stuck = True
                log.error("this process ends because of it", problem=str(error))
            except TransientError as error:
                log.warning("quarantine is broken off", batch=batch_id, problem=str(error))
                raise StartupError(str(error)) from error

    status = run_service(work, drain_seconds=settings.drain_seconds, signals=(signal.SIGTERM,))
    os._exit(quarantine.STUCK if stuck else status)  # like a worker's: a decoder may still be running


if __name__ == "__main__":
    leave(main())
