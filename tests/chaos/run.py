"""One run: uploads come in while everything is struck; then all is left to finish, and the ledger is checked."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from deploy.local.mongod import ReplicaSet
from imagepress.mongo import Database, connected
from imagepress.settings import CommonSettings, load
from tests.chaos import collect, uploads, weather
from tests.chaos.blows import Blows
from tests.chaos.facts import Facts, Wanted
from tests.chaos.finish import Finish
from tests.chaos.ledger.check import check, strays
from tests.chaos.minds import Mind
from tests.chaos.outcome import Order, Outcome
from tests.chaos.system import System, system_of
from tests.chaos.uploads import Clients, Csv
from tests.support.origin import Origin, serve_origin
from tests.support.receiver import Receiver, serve_receiver

UPLOADS_WITHIN: Final = 0.8
"""The share of the time in which uploads come in."""


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
        self.subscriber.well_from_now_on = True
        await Finish(self.database, self.say).wait()
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
                tasks.create_task(self._be_client(csv, starts, random.Random(rng.random())), name=csv.name)

    async def _be_client(self, csv: Csv, starts: float, rng: random.Random) -> None:
        await asyncio.sleep(starts)
        content = uploads.text_of(csv, lambda number: self.origin.url(f"/{number}"))
        hook, ingests, seen = self.receiver.url(f"/{csv.name}"), self.system.ingests, self.clients
        async with httpx.AsyncClient(timeout=uploads.UPLOAD_SECONDS) as client:
            request_id = await uploads.upload(client, csv, content, ingests=ingests, hook=hook, rng=rng, seen=seen)
            await Mind(client, ingests, request_id, rng, seen).go_on()

    async def _facts(self) -> Facts:
        requests, strange = await collect.requests_of(self.database)
        return Facts(
            planned=self.clients.planned,
            answered=self.clients.answered,
            wishes=self.clients.wishes,
            requests=requests,
            files=await asyncio.to_thread(collect.files_under, self.folder / "images"),
            calls=self.subscriber.calls,
            strange_batches=strange,
        )


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
                cancelled=prepared.clients.told_yes(Wanted.CANCEL),
                retried=prepared.clients.told_yes(Wanted.RETRY),
                seconds=time.monotonic() - began,
                violations=check(facts),
                stray=strays(facts),
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
