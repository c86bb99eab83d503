"""What nobody was woken for: expired leases, half-done releases, runs that nobody ended, batches of dead uploads.

Every watcher container sweeps; each step is harmless when several do it at once.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from imagepress import backlog, logs, metrics, transitions
from imagepress.blobs import Blobs
from imagepress.documents import SCHEMA
from imagepress.mongo import Database
from services.watcher import sweep_queries as queries
from services.watcher.settings import WatcherSettings

log = logs.get(__name__)

_EXPIRED: Final = metrics.leases_expired.labels("batch")

PER_PASS = 200
"""Requests looked at in one pass: a sweep is short, and goes on where the last one stopped."""


class Sweep:
    """Remembers how far the active requests were looked at."""

    def __init__(self, database: Database, blobs: Blobs, settings: WatcherSettings) -> None:
        """Begin with the oldest request."""
        self._database = database
        self._blobs = blobs
        self._settings = settings
        self._after: datetime | None = None

    async def run_once(self) -> None:
        """Make one pass. Raises `DatabaseUnavailable`, `StorageUnavailable`."""
        await backlog.note_batches(self._database)
        await self.expire()
        await self._release()
        await self._end()
        await self._forget()
        if deleted := await queries.delete_orphans(self._database, limit=PER_PASS):
            log.info("deleted batches of uploads that were never accepted", batches=deleted)
        if strays := await self._blobs.sweep():
            log.info("deleted what killed writers left in the image store", files=strays)

    async def expire(self) -> None:
        """Return the batches of dead workers to the pending ones."""
        if expired := await queries.expire_batches(self._database):
            _EXPIRED.inc(expired)
            log.warning("leases ran out, batches returned", batches=expired)

    async def _release(self) -> None:
        for request_id, run in await queries.unreleased(self._database, limit=PER_PASS):
            released = await transitions.release(
                self._database, request_id, run, turn_seconds=self._settings.turn_seconds
            )
            log.info("finished a release", request_id=request_id, run=run, batches=released)

    async def _end(self) -> None:
        """End runs without an open batch, oldest first, `PER_PASS` a pass, round and round."""
        requests = await queries.active_after(self._database, self._after, limit=PER_PASS)
        ours = [request for request in requests if request["schema"] <= SCHEMA]
        if newer := len(requests) - len(ours):
            log.error("requests of a newer release are left alone: is one of its watchers running?", requests=newer)
        for request in ours:
            is_to_cancel = request.get("cancelling") and request["is_left"]
            finish = transitions.cancel if is_to_cancel else transitions.end_if_done
            ended = await finish(self._database, request["_id"], request["run"])
            if ended:
                log.info("ended a request that nobody had ended", request_id=request["_id"], status=ended.status)
        self._after = requests[-1]["created_at"] if len(requests) == PER_PASS else None

    async def _forget(self) -> None:
        """Delete what clients, or RETENTION_DAYS, want forgotten: images, attempts, batches, then the request.

        In this order a sweep that dies half-way leaves the request, so that the next one goes on with it.
        """
        if days := self._settings.retention_days:
            await queries.retire(self._database, days=days, limit=PER_PASS)
        for request_id in await queries.removed(
            self._database, for_seconds=self._settings.lease_seconds, limit=PER_PASS
        ):
            images = await self._blobs.delete_under(request_id)
            await queries.forget(self._database, request_id)
            log.info("request forgotten", request_id=request_id, images=images)
