"""`python -m services.notifier`: the notifier service; its composition root."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys

from imagepress import health, logs, metrics
from imagepress.errors import StartupError, TransientError
from imagepress.lifecycle import Stop, run_service
from imagepress.mongo import Database, connected
from imagepress.outbound import agent_name, guarded_session
from imagepress.settings import load
from imagepress.wakeups import Wakeups
from services.notifier import queries
from services.notifier.loop import Notifier
from services.notifier.send import Sender
from services.notifier.settings import NotifierSettings

log = logs.get(__name__)


async def notify(settings: NotifierSettings, stop: Stop) -> None:
    """Run the notifier service until the stop."""
    wakeups = Wakeups(settings, stop)
    checks = {"change stream": lambda: None if wakeups.is_open else "closed; due webhooks are found by the sweep only"}
    async with (
        connected(settings) as database,
        guarded_session(
            settings.address_policy,
            user_agent=agent_name(settings.user_agent_contact),
            limit=settings.webhook_concurrency,
            connect_seconds=settings.webhook_connect_seconds,
            idle_seconds=settings.webhook_timeout_seconds,
        ) as session,
        health.served(
            host=settings.metrics_host,
            port=settings.notifier_metrics_port,
            checks=checks,
            metrics=metrics.exposition,
        ),
        asyncio.TaskGroup() as tasks,
    ):
        sender = Sender(session, timeout_seconds=settings.webhook_timeout_seconds)
        name = f"{socket.gethostname()}:{os.getpid()}"
        notifier = Notifier(database, settings, sender, name=name, stop=stop)
        log.info("notifying", metrics_port=settings.notifier_metrics_port, pid=os.getpid())
        tasks.create_task(wakeups.run(), name="change stream")
        tasks.create_task(_ring(wakeups, notifier), name="bell")
        tasks.create_task(_sweep(database, settings, stop), name="sweep")
        await notifier.run()


async def _ring(wakeups: Wakeups, notifier: Notifier) -> None:
    async for _ in wakeups:
        metrics.stream_open.set(wakeups.is_open)
        notifier.wake()


async def _sweep(database: Database, settings: NotifierSettings, stop: Stop) -> None:
    """Free the webhooks of notifiers that died, every SWEEP_SECONDS or so: replicas spread out."""
    rng = random.Random()  # spreads replicas out, no secret
    while not await stop.wait(settings.sweep_seconds * rng.uniform(0.8, 1.2)):
        try:
            if freed := await queries.expire_leases(database):
                metrics.leases_expired.labels("webhook").inc(freed)
                log.warning("leases ran out, webhooks are due again", webhooks=freed)
        except TransientError as error:
            log.warning("a sweep was cut short", problem=str(error))


def main() -> int:
    """Run the service; return the exit status."""
    logs.configure(service="notifier", level="INFO", log_format=None)
    try:
        settings = load(NotifierSettings)
    except StartupError as error:
        log.error("cannot start", problem=str(error))
        return 1
    logs.configure(service="notifier", level=settings.log_level, log_format=settings.log_format)
    return run_service(lambda stop: notify(settings, stop), drain_seconds=settings.drain_seconds)


if __name__ == "__main__":
    sys.exit(main())
