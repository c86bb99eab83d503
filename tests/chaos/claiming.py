"""A model of claiming: one request, and the processes that have to do with it, which hypothesis lets act in any order.

Whoever acts is real (the services' own functions, on a real MongoDB). A stall is a gate in front of the writes: a
process has looked, and writes only much later, or never.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from imagepress import transitions
from imagepress.blobs import Blobs
from imagepress.documents import ACTIVE, BatchStatus, ImageStatus
from imagepress.errors import ImageError
from imagepress.mongo import Database
from services.ingest import commands
from services.ingest.settings import IngestSettings
from services.watcher import outcome, queries
from services.watcher.batch import BatchRun, begin
from services.watcher.image import failure
from services.watcher.settings import WatcherSettings
from services.watcher.sweep import Sweep
from tests.chaos.seen import IMAGES, Seen
from tests.support.stalling import NEVER, Process, Stalled, until_stalled
from tests.support.uploads import accepted

Document = dict[str, Any]

HOOK: Final = "http://127.0.0.1:9/hook"
FAILED: Final = ImageError("http_404", "gone")

stalls = st.sampled_from([NEVER, NEVER, 0, 1, 2])
which = st.integers(0, 3)


@dataclass
class World:
    """What all examples share: a loop, a database, and the settings."""

    runner: asyncio.Runner
    database: Database
    ingest: IngestSettings
    watcher: WatcherSettings

    def run(self, what: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(what)

    async def fresh(self) -> str:
        for collection in (self.database.requests, self.database.batches):
            await collection.delete_many({})
        urls = [f"http://127.0.0.1:9/{n}" for n in range(IMAGES)]
        return await accepted(self.database, self.ingest, urls, webhook_url=HOOK)


class Claiming(RuleBasedStateMachine):
    """One request, and everyone who has to do with it."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.id = self.world.run(self.world.fresh())
        self.blobs = Blobs(self.world.watcher.storage_url)
        self.held: list[BatchRun] = []
        self.stalled: list[Stalled] = []
        self.seen = Seen()

    # What processes do. `stall`: how many writes they make before they stall.

    @rule()
    def claim(self) -> None:
        self.world.run(self._claim(self.world.database))

    async def _claim(self, database: Database) -> None:
        name = f"worker{len(self.held)}"
        if claimed := await queries.claim_batch(database, worker=name, seconds=3600, from_turn=0):
            await queries.start_request(database, claimed.request_id, claimed.run)
            self.held.append(begin(claimed))

    @precondition(lambda self: self.held)
    @rule(which=which, outcomes=st.lists(st.booleans(), min_size=1, max_size=4))
    def work(self, which: int, outcomes: list[bool]) -> None:
        run = self.held[which % len(self.held)]
        for (place, image), well in zip(run.open_images(), outcomes, strict=False):
            blob = f"{self.id}/{place.row}-{place.n}.jpg"
            good = {"status": ImageStatus.SUCCEEDED, "blob": blob, "bytes_in": 10, "bytes_out": 5}
            run.settle(image, good if well else failure(FAILED, run.batch.run))

    @precondition(lambda self: self.held)
    @rule(which=which)
    def beat(self, which: int) -> None:
        run = self.held[which % len(self.held)]
        self.world.run(self._beat(run))

    async def _beat(self, run: BatchRun) -> None:
        database, batch = self.world.database, run.batch
        still = await database.batches.count_documents({"_id": batch.id, "lease.token": batch.token})
        await queries.note_outcomes(database, [(batch, queries.outcome_fields(run.copied_rows(), run.progress()))])
        kept = await queries.keep_batches(database, batch.held, seconds=3600)
        assert kept == ({batch.id} if still else set())

    @precondition(lambda self: self.held)
    @rule(which=which, stall=stalls)
    def conclude(self, which: int, stall: int) -> None:
        run = self.held.pop(which % len(self.held))
        self._start(stall, lambda database: outcome.conclude(database, run, self.blobs, self.world.watcher))

    @precondition(lambda self: self.held)
    @rule(which=which, stall=stalls)
    def give_back(self, which: int, stall: int) -> None:
        run = self.held.pop(which % len(self.held))
        self._start(stall, lambda database: outcome.give_back(database, run, self.blobs, self.world.watcher))

    @rule(stall=stalls)
    def cancel(self, stall: int) -> None:
        request = self._request()
        self._start(stall, lambda database: commands.cancel(database, request, patience_seconds=0))

    @rule(stall=stalls)
    def retry(self, stall: int) -> None:
        request = self._request()
        self._start(stall, lambda database: commands.retry(database, request, turn_seconds=5))

    @rule(back=st.integers(0, 1), stall=stalls)
    def end(self, back: int, stall: int) -> None:
        run = max(1, self._request()["run"] - back)
        self._start(stall, lambda database: transitions.end_if_done(database, self.id, run))

    @rule(stall=stalls)
    def sweep(self, stall: int) -> None:
        self._start(stall, self._sweep)

    async def _sweep(self, database: Database) -> None:
        # Ingests are left alone with their releases for some seconds: as if they had passed.
        past = {"woken_at": _long_ago(), "cancelling_since": _long_ago()}
        await self.world.database.requests.update_one({"_id": self.id}, [{"$set": past}])
        await Sweep(database, self.blobs, self.world.watcher).run_once()

    # What happens to them.

    @rule(which=which)
    def lease_runs_out(self, which: int) -> None:
        self.world.run(self._lease_runs_out({"_id": f"{self.id}/{which % 2:06}"}))

    async def _lease_runs_out(self, batches: Document) -> None:
        leased = {**batches, "lease": {"$exists": True}}
        await self.world.database.batches.update_many(leased, [{"$set": {"lease.expires_at": _long_ago()}}])

    @precondition(lambda self: not self.stalled)  # for a stalled retry, the hour would have passed, too
    @rule()
    def an_hour_passes(self) -> None:
        self.world.run(self._an_hour_passes())

    async def _an_hour_passes(self) -> None:
        staged = {"status": BatchStatus.STAGED}
        await self.world.database.batches.update_many(staged, [{"$set": {"staged_at": _long_ago()}}])

    @precondition(lambda self: self.stalled)
    @rule(which=which)
    def go_on(self, which: int) -> None:
        self.world.run(self.stalled.pop(which % len(self.stalled)).go_on())

    @precondition(lambda self: self.stalled)
    @rule(which=which)
    def die(self, which: int) -> None:
        self.world.run(self.stalled.pop(which % len(self.stalled)).die())

    def _start(self, stall: int, process: Process) -> None:
        stalled = self.world.run(until_stalled(self.world.database, process, after=stall))
        if stalled is not None:
            self.stalled.append(stalled)

    def status(self) -> tuple[int, str]:
        """Return run and status of the request."""
        request = self._request()
        return request["run"], request["status"]

    def _request(self) -> Document:
        found: Document = self.world.run(_found(self.world.database, self.id))
        return found

    # What must hold after each step, and at the end.

    @invariant()
    def all_is_well(self) -> None:
        self.seen.check(*self.world.run(self._state()))

    async def _state(self) -> tuple[Document, list[Document]]:
        batches = self.world.database.batches.find().sort("_id", 1)
        return await _found(self.world.database, self.id), [batch async for batch in batches]

    def teardown(self) -> None:
        """Whoever is left goes on, all leases run out, and one worker with the sweep brings everything to an end."""
        for stalled in self.stalled:
            self.world.run(stalled.go_on())
        self.held.clear()
        self.world.run(self._finish())
        self.all_is_well()
        request = self._request()
        assert request["status"] not in ACTIVE, "the request never ends"

    async def _finish(self) -> None:
        await self._lease_runs_out({})
        await self._sweep(self.world.database)
        for _ in range(4):
            await self._claim(self.world.database)
            while self.held:
                run = self.held.pop()
                for _, image in run.open_images():
                    run.settle(image, failure(FAILED, run.batch.run))
                await outcome.conclude(self.world.database, run, self.blobs, self.world.watcher)
        await self._sweep(self.world.database)


def _long_ago() -> Document:
    return {"$dateSubtract": {"startDate": "$$NOW", "unit": "hour", "amount": 2}}


async def _found(database: Database, request_id: str) -> Document:
    request = await database.requests.find_one({"_id": request_id})
    assert request is not None
    return request
