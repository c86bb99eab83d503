"""`python -m services.notifier`: the notifier service."""

from __future__ import annotations

import asyncio
import os
import socket

from imagepress import health, logs, metrics, tracing
from imagepress.errors import StartupError
from imagepress.lifecycle import Stop, leave, run_service
from imagepress.mongo import connected
from imagepress.settings import load
from imagepress.signing import SigningSecrets
from imagepress.wakeups import Wakeups
from services.notifier import queries
from services.notifier.hosts import Hosts
from services.notifier.loop import Notifier
from services.notifier.send import open_sender
from services.notifier.settings import NotifierSettings
from services.notifier.sweep import Sweeper

log = logs.get(__name__)


async def notify(settings: NotifierSettings, stop: Stop) -> None:
    """Run the notifier service until the stop."""
    wakeups = Wakeups(settings, stop, ignoring=queries.NO_WORK)
    notifier: Notifier | None = None
    checks = {
        "database": lambda: notifier.problem if notifier else "not reached yet",
        "change stream": lambda: None if wakeups.is_open else "closed; due webhooks are found by the sweep only",
    }
    # Health first: while MongoDB is away the service is alive, and says why it is not ready.
    async with (
        health.served(
            host=settings.metrics_host, port=settings.notifier_metrics_port, checks=checks, metrics=metrics.exposition
        ),
        connected(settings, stop) as database,
        open_sender(settings) as sender,
        asyncio.TaskGroup() as tasks,
    ):
        log.info("notifying", metrics_port=settings.notifier_metrics_port)
        hosts = Hosts(settings.webhook_per_host, asyncio.get_running_loop().time)
        name = f"{socket.gethostname()}:{os.getpid()}"
        notifier = Notifier(database, settings, sender, hosts, name=name, stop=stop)
        metrics.webhook_hosts_resting.set_function(lambda: hosts.resting)
        metrics.webhook_posts.set_function(hosts.in_flight.total)
        sweeper = Sweeper(database, stop, spread_seconds=settings.sweep_seconds / 10)
        tasks.create_task(wakeups.run(), name="change stream")
        tasks.create_task(sweeper.run(), name="sweep")
        tasks.create_task(notifier.run(), name="notifier")
        await _ring(wakeups, notifier, sweeper)


async def _ring(wakeups: Wakeups, notifier: Notifier, sweeper: Sweeper) -> None:
    async for wake_up in wakeups:
        if wake_up.sweep:
            sweeper.due()
        notifier.wake()


def main() -> int:
    """Run the service; return the exit status."""
    logs.configure(service="notifier", level="INFO", log_format=None)
    try:
        settings = load(NotifierSettings)
        tracing.configure(service="notifier", enabled=settings.tracing)
    except StartupError as error:
        log.error("cannot start", problem=str(error))
        return 1
    logs.configure(service="notifier", level=settings.log_level, log_format=settings.log_format)
    if settings.webhook_secrets == SigningSecrets():
        log.warning("webhooks are not signed: WEBHOOK_SECRETS is empty")
    return run_service(lambda stop: notify(settings, stop), drain_seconds=settings.drain_seconds)


if __name__ == "__main__":
    leave(main())
