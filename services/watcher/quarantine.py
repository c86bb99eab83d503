"""Rule 7: a batch that outlived two leases is worked on in a process of its own, one image at a time.

Before each image its place is written down, and again before it is decoded. If the process dies, or does not come back,
that image has failed with code `poison`, and a new process goes on with the others. No healthy worker dies of the same
image twice.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

from imagepress import leases, logs
from imagepress.blobs import Blobs
from imagepress.errors import ImageError, ImageErrorCode, TransientError
from imagepress.lifecycle import Stop
from imagepress.mongo import Database, connected
from imagepress.retry import persist
from services.watcher import queries
from services.watcher.batch import BatchRun, begin, image_span, see_to
from services.watcher.image import Place, Tools, failure
from services.watcher.outcome import conclude, make_durable
from services.watcher.queries import Claimed, LeaseLost
from services.watcher.settings import WatcherSettings

log = logs.get(__name__)

STUCK: Final = 70
"""Exit status of a process whose decoder never came back: of all statuses the only one that accuses an image."""

SUSPICIONS: Final = 3
"""An image that this many holders of the batch in a row were decoding when they went is poison: it took them along."""

ENCOUNTERS: Final = 12
"""As many that were at an image at all, say waiting for its host: fetching kills nobody, so fewer may be chance."""


START_SECONDS: Final = 30.0
"""What the process may take, on a busy machine, until it works on its first image."""


class Isolation:
    """The healthy side: starts the process, waits for it, draws the conclusion from its death."""

    def __init__(self, database: Database, settings: WatcherSettings) -> None:
        """Use the worker's own connection."""
        self._database = database
        self._settings = settings

    async def run(self, batch: Claimed) -> None:
        """See a suspected batch to its end. Raises `LeaseLost`."""
        log.warning("batch in quarantine", request_id=batch.request_id, batch=batch.id, expiries=batch.expiries)
        while (status := await self._passes(batch)) != 0:
            if status > 0 and status != STUCK:  # no image does that, but a MongoDB that is away; the lease decides
                raise TransientError(f"the quarantine process ended with status {status}, which accuses no image")
            await self._condemn(batch)

    async def _passes(self, batch: Claimed) -> int:
        """Run the batch in a process of its own; return its exit status: 0 at the end, below 0 for a signal."""
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.watcher",
            "--quarantine",
            batch.id,
            batch.token,
            stdin=asyncio.subprocess.PIPE,
        )
        watching = asyncio.ensure_future(self._until_silent(batch))
        exited = asyncio.ensure_future(child.wait())
        try:
            await asyncio.wait({watching, exited}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            if child.returncode is None:
                child.kill()
            await asyncio.shield(child.wait())
        return child.returncode or 0

    async def _until_silent(self, batch: Claimed) -> None:
        """Return once the same image has been worked on for longer than fetching and compressing may take."""
        longest = self._settings.fetch_seconds + self._settings.codec_seconds + self._settings.database_timeout_seconds
        clock = asyncio.get_running_loop().time
        last: Any = None
        since = clock() + START_SECONDS
        while clock() - since < longest:
            await asyncio.sleep(min(1.0, longest / 10))
            with suppress(TransientError):  # what cannot be asked now is asked in a second
                found = await queries.find_suspect(self._database, batch)
                if found is not None and found.get("suspect") != last:
                    last, since = found.get("suspect"), clock()

    async def _condemn(self, batch: Claimed) -> None:
        """Fail the image that the dead process had written down."""
        found = await persist(lambda: queries.find_suspect(self._database, batch), seconds=self._settings.lease_seconds)
        if found is None:
            raise LeaseLost
        suspect = found.get("suspect")
        if suspect is None:  # before its first image or after its last: none is to blame, and the lease decides
            raise TransientError("the quarantine process ended while it worked on no image")
        log.error("poisonous image", request_id=batch.request_id, batch=batch.id, row=suspect[0], place=suspect[1])
        rows = found["rows"]
        _poison(batch, rows, suspect)
        await persist(
            lambda: queries.note_suspect(self._database, batch, None, rows), seconds=self._settings.lease_seconds
        )


def _poison(batch: Claimed, rows: list[dict[str, Any]], suspect: list[int]) -> None:
    """Fail an image. Its span died with the process that worked on it: this one tells of its end."""
    error = ImageError(ImageErrorCode.POISON, "the process that worked on this image died of it, or never came back")
    with suppress(ImageError), image_span(batch):
        raise error
    for row in rows:
        for image in row["images"]:
            if [row["row"], image["n"]] == suspect[:2] and "status" not in image:
                image.update(failure(error, batch.run))


async def work(settings: WatcherSettings, tools: Tools, stop: Stop, batch_id: str, token: str) -> None:
    """The suspected side: be the process that runs one batch, image by image. Raises `LeaseLost`."""
    async with connected(settings, stop) as database:
        batch = await persist(lambda: queries.find_claimed(database, batch_id, token), seconds=settings.lease_seconds)
        run = begin(batch, losses=tools.blobs.losses)
        for place, image in run.open_images():
            if stop.is_set:
                return
            decoding, at_it = _gone_before(batch.suspect, place)
            if decoding >= SUSPICIONS or at_it >= ENCOUNTERS:
                _poison(batch, run.rows, [place.row, place.n])
                run.left -= 1
                continue
            note = partial(_note, database, run, blobs=tools.blobs, settings=settings)
            await note([place.row, place.n, decoding, at_it + 1])
            noting = replace(tools, decoding=partial(note, [place.row, place.n, decoding + 1, at_it + 1]))
            # Counts are told now: the next image may be the end of this process.
            await see_to(run, image["url"], [(place, image)], noting, tools.tally.flush)
        # Whoever dies from here on dies of no image, and writing the end may wait for the database.
        await _note(database, run, None, blobs=tools.blobs, settings=settings)
        await conclude(database, run, tools.blobs, settings)


def _gone_before(suspect: list[int] | None, place: Place) -> tuple[int, int]:
    """Return how many holders in a row are gone that were decoding the image at `place`, and that were at it at all."""
    if not suspect or suspect[:2] != [place.row, place.n]:
        return 0, 0
    return suspect[2], suspect[-1]  # of three numbers, as a release before this one wrote them, the last is both


async def _note(
    database: Database, run: BatchRun, suspect: list[int] | None, *, blobs: Blobs, settings: WatcherSettings
) -> None:
    """Write down what is touched next, and stay the holder for as long as that may take."""
    batch, seconds = run.batch, settings.lease_seconds

    async def note() -> None:
        await make_durable(run, blobs)  # what is done of the batch is written down, too
        await queries.note_suspect(database, batch, suspect, run.rows)
        await leases.extend(database.batches, path=queries.LEASE, held=batch.held, seconds=seconds)

    await persist(note, seconds=seconds)
