"""A watcher process: claims batches while it has room, and sees each of them to its end.

The stream wakes, the claim decides: a wake-up (from the supervisor) only says "look again".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from imagepress import logs, metrics
from imagepress.errors import TransientError
from imagepress.lifecycle import Stop
from imagepress.mongo import Database
from imagepress.retry import SETTLE_SECONDS, Backoff, Trouble, persist
from services.watcher import batch as batches
from services.watcher import queries
from services.watcher.batch import BatchRun
from services.watcher.codec import CodecStuck
from services.watcher.heartbeat import Held, beat
from services.watcher.image import Tools
from services.watcher.outcome import conclude, give_back
from services.watcher.queries import Claimed, LeaseLost
from services.watcher.settings import WatcherSettings

log = logs.get(__name__)

GRACE_SECONDS: Final = 0.5
"""What images in work get to finish after the stop, before their batch is given back for others to claim at once."""

QUARANTINE_AFTER: Final = 2
"""Leases of a batch that ran out before it is suspected of killing its workers (rule 7)."""

LOOK_BACK_SECONDS: Final = 0.25
"""How often at most a wake-up makes claims start from the lowest turn: wading through what was claimed costs time."""

TURNS_AHEAD: Final = 16
"""A newcomer has one of the lowest turns; looking no further than four batches of 256 never reads through a giant."""

AHEAD: Final = 64
"""Images in hand below which the next batch is claimed: they keep a process busy for as long as that takes."""

Isolate = Callable[[Claimed], Awaitable[None]]
"""Runs a suspected batch in a process of its own."""


class Worker:
    """Claims and dispatches; one per process."""

    def __init__(
        self, database: Database, settings: WatcherSettings, tools: Tools, isolate: Isolate, *, name: str, stop: Stop
    ) -> None:
        """Hold nothing yet. `name` stands in the leases, for people who look."""
        self._database = database
        self._settings = settings
        self._tools = tools
        self._isolate = isolate
        self._name = name
        self._stop = stop
        self._held: dict[str, Held] = {}  # by token: a batch that was lost may be claimed again before its task ends
        self._ring = asyncio.Event()
        self._from_turn = 0
        self._last_turn = 0
        self._looked_back = 0.0
        self._maybe_more = True
        self._maybe_newcomer = False
        self._started: set[tuple[str, int]] = set()
        self._stuck: CodecStuck | None = None

    def wake(self, *, sweep: bool) -> None:
        """Look again; with `sweep`, from the lowest turn on."""
        now = asyncio.get_running_loop().time()
        if sweep or now - self._looked_back > LOOK_BACK_SECONDS:
            self._from_turn = 0
            self._looked_back = now
        self._maybe_more = self._maybe_newcomer = True
        self._ring.set()

    async def run(self) -> None:
        """Claim and work until the stop, then finish or give back what is held. Raises `CodecStuck`."""
        backoff = Backoff()
        trouble = Trouble(log, "claiming", settle_seconds=SETTLE_SECONDS)
        async with asyncio.TaskGroup() as tasks:
            beating = beat(self._database, self._settings, self._held, self._tools.blobs)
            heart = tasks.create_task(beating, name="heartbeat")
            while not self._stop.is_set and self._stuck is None:
                self._ring.clear()
                try:
                    while await self.run_once(tasks) and not self._stop.is_set:
                        pass
                except TransientError as error:
                    self._maybe_more = self._maybe_newcomer = True  # whichever was asked, there was no answer
                    trouble.note(error)
                    await self._stop.wait(backoff.delay())
                    continue
                backoff.reset()
                trouble.over()
                await self._stop.race(self._ring.wait(), timeout=self._settings.sweep_seconds)
            await self._settle()
            heart.cancel()
        if self._stuck is not None:
            raise self._stuck

    async def run_once(self, tasks: asyncio.TaskGroup) -> bool:
        """Claim one batch if there is room for it, and start on it; return whether there was one."""
        claim = self._claim_now()
        claimed = await claim() if claim else None
        if claimed is None:
            return False
        run = batches.begin(claimed, losses=self._tools.blobs.losses)
        task = tasks.create_task(self._carry_out(run), name=f"batch {claimed.id}")
        self._held[claimed.token] = Held(run, task, noted=run.progress())
        return True

    def _claim_now(self) -> Callable[[], Awaitable[Claimed | None]] | None:
        """Return how to claim with what is in hand: a batch into free capacity, beyond it only of another request."""
        in_hand = [held.run.left for held in self._held.values()]
        images, capacity = sum(in_hand), max(AHEAD, self._settings.fetch_concurrency)
        if images < capacity:
            return self._claim_next if self._maybe_more else None
        # The largest batch may be of any size: it takes no newcomer's room.
        if images < max(in_hand) + 2 * capacity and self._maybe_newcomer:
            return self._claim_newcomer
        return None

    async def _claim_next(self) -> Claimed | None:
        self._maybe_more = False  # before the question: a wake-up while it is under way must not be forgotten
        claimed = await self._claim_from(self._from_turn)
        if claimed is None and self._from_turn:
            claimed = await self._claim_from(0)
        self._from_turn = claimed.turn if claimed else 0
        self._last_turn = max(self._last_turn, self._from_turn)
        self._maybe_more = self._maybe_more or claimed is not None
        return claimed

    async def _claim_newcomer(self) -> Claimed | None:
        known = {held.run.batch.request_id for held in self._held.values()}
        # The second bound cannot stand beside the first, which is the claim's own.
        near = {"request_id": {"$nin": list(known)}, "$and": [{"turn": {"$lte": self._last_turn + TURNS_AHEAD}}]}
        self._maybe_newcomer = False
        claimed = await self._claim_from(0, near)
        self._maybe_newcomer = self._maybe_newcomer or claimed is not None
        return claimed

    async def _claim_from(self, turn: int, only: dict[str, Any] | None = None) -> Claimed | None:
        claimed = await queries.claim_batch(
            self._database, worker=self._name, seconds=self._settings.lease_seconds, from_turn=turn, only=only
        )
        metrics.claims.labels("nothing" if claimed is None else "batch").inc()
        return claimed

    async def _carry_out(self, run: BatchRun) -> None:
        """Bring one batch to its end, whatever it is; nothing of it is held afterwards."""
        batch = run.batch
        try:
            await self._note_start(batch)
            if batch.expiries >= QUARANTINE_AFTER:
                run.isolated = True
                await self._isolate(batch)
            else:
                await batches.work(run, self._tools, concluded=self._image_has_ended)
                self._held[batch.token].concluding = True
                await conclude(self._database, run, self._tools.blobs, self._settings)
        except LeaseLost:
            metrics.leases_lost.inc()
            log.warning("lost the lease of a batch", request_id=batch.request_id, batch=batch.id)
        except TransientError as error:
            log.warning("a batch is left to its lease", request_id=batch.request_id, problem=str(error))
        except CodecStuck as error:
            self._stuck = error  # the lease runs out, which counts towards quarantine
        finally:
            self._held.pop(batch.token, None)
            self._ring.set()

    async def _note_start(self, batch: Claimed) -> None:
        """Make the request `processing`, once for each run that this worker meets."""
        run = (batch.request_id, batch.run)
        if run in self._started:
            return
        await persist(lambda: queries.start_request(self._database, *run), seconds=self._settings.lease_seconds)
        if len(self._started) > 1000:  # to forget costs an update each, to remember all costs memory
            self._started.clear()
        self._started.add(run)

    def _image_has_ended(self) -> None:
        """Look again, if that made room: to be woken for each image took a twentieth of the loop's time."""
        if self._claim_now():
            self._ring.set()

    async def _settle(self) -> None:
        """After the stop: images in work may finish for a moment, outcomes are written, the rest is given back."""
        entries = list(self._held.values())
        if entries:
            await asyncio.wait({entry.task for entry in entries}, timeout=GRACE_SECONDS)
        unfinished = [entry for entry in entries if not entry.task.done()]
        given_back = [entry for entry in unfinished if not entry.concluding]
        for entry in given_back:
            entry.task.cancel()
        if unfinished:
            await asyncio.wait({entry.task for entry in unfinished}, timeout=self._settings.finish_seconds)
        for entry in given_back:
            await give_back(self._database, entry.run, self._tools.blobs, self._settings)
