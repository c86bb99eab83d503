"""Live progress: everybody who follows a request hears of it through one change stream and one look a second.

A listener is told the present state, never what led to it: so nothing is queued for a slow one, and one that comes
back after a break needs no history. A state's id is made from its content: every replica gives it the same, and a
listener that says which state it saw last (`Last-Event-ID`) is not told that one again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from imagepress import logs, metrics
from imagepress.documents import ENDED
from imagepress.errors import TransientError
from imagepress.lifecycle import Stop
from imagepress.links import Links
from imagepress.mongo import Database
from imagepress.retry import Trouble
from imagepress.settings import CommonSettings
from imagepress.wakeups import Wakeups
from services.ingest import progress, views

log = logs.get(__name__)

LOOK_SECONDS: Final = 1.0
"""Workers note their progress about so often (`services/watcher/heartbeat.py`): nothing is seen by looking more."""

AT_MOST_SECONDS: Final = 0.1
"""The least between two looks, however many requests begin and end."""


@dataclass(frozen=True, slots=True)
class State:
    """What a listener is told: the request as JSON text, made once for all of them."""

    id: str
    text: str
    ended: bool


@dataclass(slots=True)
class _Topic:
    """A request that somebody follows."""

    state: State
    listeners: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, state: State) -> None:
        """Wake everybody who waits for news; each takes the state that is there by then."""
        self.state = state
        self.changed.set()
        self.changed = asyncio.Event()


def state_of(request: dict[str, Any], links: Links) -> State:
    """Return the state of a request document, as its status shows it without rows."""
    text = json.dumps(views.summary(request, links), ensure_ascii=False)
    return State(hashlib.sha256(text.encode()).hexdigest()[:16], text, request["status"] in ENDED)


class Live:
    """The listeners of one process. `follow` works while `run` is a running task."""

    def __init__(self, database: Database, settings: CommonSettings, links: Links, stop: Stop) -> None:
        """Prepare; the change stream is opened for the first listener."""
        self._database = database
        self._links = links
        self._stop = stop
        # The look that makes up for everything the stream may have missed is the one that sees progress.
        self._wakeups = Wakeups(settings.model_copy(update={"sweep_seconds": LOOK_SECONDS}), stop)
        self._topics: dict[str, _Topic] = {}
        self._followed = asyncio.Event()

    async def follow(self, request: dict[str, Any]) -> AsyncGenerator[State]:
        """Yield the present state of a request, given its document, and each new one, until it has ended.

        Ends without the end of the request where the service stops.
        """
        topic = self._topics.setdefault(request["_id"], _Topic(state_of(request, self._links)))
        topic.listeners += 1
        metrics.listeners.inc()
        self._followed.set()
        try:
            while True:
                changed, state = topic.changed, topic.state
                yield state
                if state.ended or self._stop.is_set:
                    return
                await changed.wait()
        finally:
            metrics.listeners.dec()
            topic.listeners -= 1
            if not topic.listeners:
                del self._topics[request["_id"]]

    async def run(self) -> None:
        """Look again at every change and every second while anybody listens, until the stop; then let all go."""
        try:
            await self._stop.race(self._followed.wait())
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._wakeups.run(), name="change stream")
                tasks.create_task(self._look_again(), name="progress")
        finally:
            for topic in self._topics.values():
                topic.tell(topic.state)

    async def _look_again(self) -> None:
        trouble = Trouble(log, "live progress")
        async for wake_up in self._wakeups:
            if not (self._topics if wake_up.sweep else wake_up.request_ids & self._topics.keys()):
                continue
            try:
                await self._look()
            except TransientError as error:
                trouble.note(error)
            else:
                trouble.over()
            await self._stop.wait(AT_MOST_SECONDS)

    async def _look(self) -> None:
        """Tell everybody the present state of what they follow; one that is forgotten ends as it was seen last."""
        asked = dict(self._topics)
        found = await progress.find_requests(self._database, list(asked))
        states = {request["_id"]: state_of(request, self._links) for request in found}
        for request_id, topic in asked.items():
            state = states.get(request_id) or replace(topic.state, ended=True)
            if state != topic.state:
                topic.tell(state)
