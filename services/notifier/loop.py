"""The notifier: claims due webhooks while it has room, and has an attempt made of each.

The stream wakes, the claim decides: a wake-up only says "look again", and so do a place that became free, the time at
which the next webhook is due, and SWEEP_SECONDS.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final

from imagepress import logs
from imagepress.errors import DatabaseUnavailable, TransientError
from imagepress.lifecycle import Stop
from imagepress.mongo import Database
from imagepress.retry import SETTLE_SECONDS, Backoff, Trouble
from services.notifier import queries
from services.notifier.attempt import Attempts, Held
from services.notifier.decide import Schedule
from services.notifier.front import Front
from services.notifier.hosts import Hosts
from services.notifier.queries import Claims, DueWebhook, Where
from services.notifier.record import Recorder
from services.notifier.send import Sender
from services.notifier.settings import NotifierSettings

log = logs.get(__name__)

LEAST_WAIT_SECONDS: Final = 0.02
"""Between two looks that nothing asked for: a due time is rounded, and a busy loop would be the price."""


class Notifier:
    """Claims and dispatches; one per process."""

    def __init__(
        self, database: Database, settings: NotifierSettings, sender: Sender, hosts: Hosts, *, name: str, stop: Stop
    ) -> None:
        """Hold nothing yet. `name` stands in the leases, for people who look."""
        self._database = database
        self._settings = settings
        self._hosts = hosts
        self._name = name
        self._stop = stop
        self._front = Front(hosts.clock, sweep_seconds=settings.sweep_seconds)
        self._recorder = Recorder(database, seconds=settings.lease_seconds)
        self._attempts = Attempts(
            database,
            sender,
            self._recorder,
            hosts,
            Schedule(settings.webhook_schedule_seconds, settings.webhook_jitter),
            random.Random(),  # jitter, not a secret
            self._expect,
        )
        self._held: dict[asyncio.Task[None], Held] = {}
        self._ring = asyncio.Event()
        self.problem: str | None = None
        """Why nothing can be claimed at the moment: for readiness."""

    def wake(self) -> None:
        """Look again."""
        self._ring.set()

    async def run(self) -> None:
        """Claim and send until the stop; then what is under way may end, and the rest is given back."""
        backoff = Backoff()
        trouble = Trouble(log, "claiming", settle_seconds=SETTLE_SECONDS)
        async with asyncio.TaskGroup() as tasks:
            recording = tasks.create_task(self._recorder.run(), name="recorder")
            while not self._stop.is_set:
                self._ring.clear()
                try:
                    wait = await self.run_once(tasks)
                except TransientError as error:
                    self.problem = str(error)
                    trouble.note(error)
                    self._front.start_anew()
                    await self._stop.wait(backoff.delay())
                    continue
                self.problem = None
                backoff.reset()
                trouble.over()
                await self._stop.race(self._ring.wait(), timeout=wait)
            await self._settle()
            recording.cancel()

    async def run_once(self, tasks: asyncio.TaskGroup) -> float:
        """Claim and start what there is room for; return after how many seconds to look again unasked."""
        while self._places > 0 and not self._stop.is_set:
            is_all = await self._look_ahead(tasks)
            if ready := self._front.ready(self._hosts.room):
                await self._look_behind(ready, tasks)
            elif is_all:
                return await self._seconds_to_next()
        return self._settings.sweep_seconds  # the first place that becomes free rings

    @property
    def _places(self) -> int:
        return self._settings.webhook_concurrency - len(self._held)

    async def _look_ahead(self, tasks: asyncio.TaskGroup) -> bool:
        """Take what came due since the last look; return whether that is all."""
        reach = self._front.reach()
        where = queries.ahead(reach.seconds_back, self._front.behind)
        claims = await self._look(where, self._places, tasks)
        return self._front.looked(reach, exhausted=claims.exhausted, crowded=claims.crowded)

    async def _look_behind(self, hosts: list[str], tasks: asyncio.TaskGroup) -> None:
        """Take what there is room for at hosts that had too much due."""
        limit = min(self._places, sum(map(self._hosts.room, hosts)))
        if limit:
            claims = await self._look(queries.at_hosts(hosts), limit, tasks)
            self._front.caught_up(hosts, exhausted=claims.exhausted, crowded=claims.crowded)

    async def _look(self, where: Where, limit: int, tasks: asyncio.TaskGroup) -> Claims:
        """Claim and start up to `limit` webhooks. Raises `DatabaseUnavailable`, also for a claim that came too late."""
        clock = asyncio.get_running_loop().time
        latest = clock() + self._settings.lease_seconds - self._settings.webhook_timeout_seconds
        claims = await queries.claim_due(
            self._database,
            where,
            worker=self._name,
            seconds=self._settings.lease_seconds,
            limit=limit,
            room=self._hosts.room,
        )
        is_late = clock() > latest
        if claims.taken and (self._stop.is_set or is_late):
            await queries.release(self._database, claims.taken)
        if is_late:
            raise DatabaseUnavailable("a claim took so long that its lease could end during the POST")
        if not self._stop.is_set:
            for due in claims.taken:
                self._start(due, tasks)
        return claims

    async def _seconds_to_next(self) -> float:
        unseen = self._front.unseen_seconds()
        if unseen is not None:
            within = self._settings.sweep_seconds
            behind = self._front.behind
            due = await queries.next_due_seconds(self._database, since=unseen, within=within, behind=behind)
            self._front.expect(within if due is None else due)
        waits = (self._front.seconds_to_next(), self._hosts.next_probe_seconds())
        return max(LEAST_WAIT_SECONDS, min(wait for wait in waits if wait is not None))

    def _expect(self, seconds: float) -> None:
        """Something comes due in `seconds`."""
        if self._front.expect(seconds):
            self._ring.set()  # the wait under way is too long

    def _start(self, due: DueWebhook, tasks: asyncio.TaskGroup) -> None:
        held = Held(due)
        self._hosts.begin(due.host)
        task = tasks.create_task(self._attempts.carry_out(held), name=f"webhook of {due.request_id}")
        self._held[task] = held
        task.add_done_callback(self._has_ended)

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        was_full = self._places <= 0
        host = self._held.pop(task).due.host
        self._hosts.end(host)
        if was_full or host in self._front.behind:
            self._ring.set()  # otherwise nothing waits for the place

    async def _settle(self) -> None:
        """After the stop: POSTs may end while there is time, and be recorded; the others are given back."""
        held = dict(self._held)
        if not held:
            return
        await asyncio.wait(held, timeout=self._settings.finish_seconds)
        unsent = [task for task, one in held.items() if not task.done() and not one.sent]
        for task in unsent:
            task.cancel()
        await asyncio.wait(held)
        try:
            released = await queries.release(self._database, [held[task].due for task in unsent])
        except TransientError as error:
            log.warning("webhooks are left to their leases", webhooks=len(unsent), problem=str(error))
        else:
            log.info("webhooks under way at the stop", webhooks=len(held), given_back=released)
