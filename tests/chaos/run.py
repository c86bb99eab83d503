"""One run: uploads come in while everything is struck; then all is left to finish, and the ledger is checked."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from deploy.local.mongod import ReplicaSet
from imagepress.documents import ACTIVE, BatchStatus, WebhookState
from imagepress.errors import TransientError
from imagepress.mongo import Database, connected, translated
from imagepress.settings import CommonSettings, load
from tests.chaos import collect, ledger, uploads, weather
from tests.chaos.blows import Blows
from tests.chaos.facts import Facts
from tests.chaos.ledger import Kind, Violation
from tests.chaos.system import System, system_of
from tests.chaos.uploads import Clients, Csv
from tests.support.origin import Origin, serve_origin
from tests.support.processes import eventually
from tests.support.receiver import Receiver, serve_receiver

FINISH_SECONDS: Final = 120.0
"""What the system has, once nothing strikes it any more, to finish everything."""

UPLOADS_WITHIN: Final = 0.8
"""The share of the time in which uploads come in."""


@dataclass(frozen=True)
class Order:
    """What was asked for."""

    seed: int
    seconds: float
    images: int


@dataclass
class Outcome:
    """What a run came to."""

    order: Order
    images: int
    requests: int
    kills: int
    failovers: int
    seconds: float
    violations: list[Violation]
    stray: list[str]
    """Files that a killed process was just writing."""
    died: list[str]
    """What services said that ended by an error of their own."""
    blows: Counter[str] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.violations and not self.died

    def summary(self) -> dict[str, Any]:
        """Return the figures."""
        found = Counter(violation.kind for violation in self.violations)
        return {
            "seed": self.order.seed,
            "images": self.images,
            "requests": self.requests,
            "kills": self.kills,
            "failovers": self.failovers,
            **{kind.value: found[kind] for kind in Kind},
            "died": len(self.died),
            "stray": len(self.stray),
            "seconds": round(self.seconds, 1),
        }


@dataclass
class Run:
    """The parts of a run while it lasts."""

    order: Order
    folder: Path
    database: Database
    system: System
    origin: Origin
    subscriber: weather.Subscriber
    receiver: Receiver
    blows: Blows
    say: Callable[[str], None]
    clients: Clients = field(default_factory=Clients)

    async def carry_out(self) -> Facts:
        """Upload and strike, let everything finish, and return the facts."""
        files = uploads.plan(random.Random(f"{self.order.seed} files"), self.order.images)
        self._offer(files)
        self.system.start()
        for kept in self.system.kept.values():
            await kept.until_ready()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._upload_all(files), name="uploads")
            await self.blows.go_on(self.order.seconds)
            self.say("no more blows; everything is left to finish")
        await self._finish()
        await self.system.stop()
        return await self._facts()

    def _offer(self, files: list[Csv]) -> None:
        for csv in files:
            for number in set(csv.planned.pictures.values()) - csv.planned.gone:
                self.origin.answers[f"/{number}"] = weather.origin_answer(self.order.seed, number)

    async def _upload_all(self, files: list[Csv]) -> None:
        rng = random.Random(f"{self.order.seed} clients")
        async with asyncio.TaskGroup() as tasks:
            for csv in files:
                starts = rng.uniform(0, self.order.seconds * UPLOADS_WITHIN)
                tasks.create_task(self._upload(csv, starts, random.Random(rng.random())), name=csv.name)

    async def _upload(self, csv: Csv, starts: float, rng: random.Random) -> None:
        await asyncio.sleep(starts)
        content = uploads.text_of(csv, lambda number: self.origin.url(f"/{number}"))
        hook = self.receiver.url(f"/{csv.name}")
        await uploads.upload(csv, content, ingests=self.system.ingests, hook=hook, rng=rng, seen=self.clients)

    async def _finish(self) -> None:
        """Wait until nothing is left to do; what does not come about in time is for the ledger to tell."""
        self.subscriber.well_from_now_on = True
        for what, condition in (("requests end", self._all_ended), ("webhooks arrive", self._all_told)):
            await self._until(what, condition)
        # The sweep spares staged batches for an hour: they might belong to an upload that is under way.
        past = {"$dateSubtract": {"startDate": "$$NOW", "unit": "hour", "amount": 2}}
        with translated():
            await self.database.batches.update_many({"status": BatchStatus.STAGED}, [{"$set": {"staged_at": past}}])
        await self._until("batches of broken uploads go", self._none_staged)

    async def _until(self, what: str, condition: Callable[[], Awaitable[bool]]) -> None:
        began = time.monotonic()
        try:
            await eventually(_patient(condition), FINISH_SECONDS)
        except TimeoutError:
            self.say(f"given up waiting until {what}")
        else:
            self.say(f"waited {time.monotonic() - began:.1f} s until {what}")

    async def _all_ended(self) -> bool:
        return await self.database.requests.find_one({"status": {"$in": ACTIVE}}) is None

    async def _all_told(self) -> bool:
        return await self.database.requests.find_one({"webhook.state": WebhookState.DUE}) is None

    async def _none_staged(self) -> bool:
        return await self.database.batches.find_one({"status": BatchStatus.STAGED}) is None

    async def _facts(self) -> Facts:
        requests, strange = await collect.requests_of(self.database)
        return Facts(
            planned=self.clients.planned,
            answered=self.clients.answered,
            requests=requests,
            files=await asyncio.to_thread(collect.files_under, self.folder / "images"),
            calls=self.subscriber.calls,
            strange_batches=strange,
        )


def _patient(condition: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    """Take a database that is away for a moment for "not yet"."""

    async def holds() -> bool:
        try:
            with translated():
                return await condition()
        except TransientError:
            return False

    return holds


async def run(order: Order, folder: Path, say: Callable[[str], None]) -> Outcome:
    """Carry out one run in an empty folder."""
    began = time.monotonic()
    (folder / "images").mkdir()
    with ReplicaSet(folder / "mongo", members=3, fast_elections=True) as replica_set:
        async with _prepared(order, folder, replica_set, say) as prepared:
            facts = await prepared.carry_out()
            return Outcome(
                order=order,
                images=sum(request.total for request in facts.requests),
                requests=len(facts.requests),
                kills=prepared.blows.kills,
                failovers=prepared.blows.failovers,
                seconds=time.monotonic() - began,
                violations=ledger.check(facts),
                stray=ledger.staging_leftovers(facts),
                died=[line for kept in prepared.system.kept.values() for line in kept.deaths()],
                blows=prepared.blows.counts,
            )


@asynccontextmanager
async def _prepared(
    order: Order, folder: Path, replica_set: ReplicaSet, say: Callable[[str], None]
) -> AsyncIterator[Run]:
    environment = _environment(folder, replica_set)
    subscriber = weather.Subscriber(random.Random(f"{order.seed} subscriber"))
    variables = {name: environment[name.upper()] for name in ("database_name", "collection_name")}
    settings = load(CommonSettings, _env_file=None, mongo_connection_string=replica_set.uri, **variables)
    async with (
        connected(settings) as database,
        serve_origin() as origin,
        serve_receiver() as receiver,
        system_of(environment, folder, random.Random(f"{order.seed} system")) as system,
    ):
        receiver.answer = subscriber.answer_as(receiver)
        blows = Blows(system, replica_set, random.Random(f"{order.seed} blows"), say)
        yield Run(order, folder, database, system, origin, subscriber, receiver, blows, say)


def _environment(folder: Path, replica_set: ReplicaSet) -> dict[str, str]:
    machine = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG")}
    return {
        **machine,
        "MONGO_CONNECTION_STRING": replica_set.uri,
        "DATABASE_NAME": "chaos",
        "COLLECTION_NAME": "requests",
        "STORAGE_URL": f"file://{folder / 'images'}",
        "ALLOWED_NETWORKS": "127.0.0.0/8",
    }
