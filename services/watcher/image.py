"""One image: fetched, compressed and stored. A failure has a code and a reason."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

from imagepress import metrics
from imagepress.blobs import Blobs
from imagepress.documents import ImageStatus, image_path
from imagepress.errors import ImageError, StorageUnavailable
from imagepress.retry import Trouble
from services.watcher.budget import Budget
from services.watcher.codec import Codec
from services.watcher.compress import Compressed, Options, compress, is_quick
from services.watcher.fetch import Fetcher
from services.watcher.in_flight import InFlight
from services.watcher.room import Room
from services.watcher.tally import Tally

Document = dict[str, Any]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Tools:
    """What a process has for working on images, shared by all its batches."""

    fetcher: Fetcher
    blobs: Blobs
    codec: Codec
    bytes_in_flight: Budget
    pixels_in_flight: Room
    max_pixels: int
    storing: Trouble
    decoding: Callable[[], Awaitable[None]] | None = None
    """Awaited before each image is decoded (quarantine)."""
    in_flight: InFlight[Made] = field(default_factory=InFlight)
    tally: Tally = field(default_factory=Tally)


class Place(NamedTuple):
    """Where an image stands: row of the file and place in the row, both from 0."""

    row: int
    n: int


@dataclass(frozen=True, slots=True)
class Made:
    """A compressed image, the SHA-256 of its bytes, and what it was fetched as, in bytes."""

    result: Compressed
    digest: str
    bytes_in: int

    def path(self, request_id: str, place: Place) -> str:
        """Return where it is stored for `place`."""
        return image_path(request_id, place.row, place.n, self.digest, self.result.extension)


async def deliver(
    url: str, places: list[Place], *, request_id: str, options: Document, turn_of: str, tools: Tools
) -> list[Document]:
    """Fetch `url`, compress and store it once for each of `places`; return the fields of a success for each.

    Where another batch of the request is at this URL already, its image is stored here as well. Raises `ImageError`,
    `StorageUnavailable` (try again later), `CodecStuck`.
    """

    async def make() -> Made:
        async with tools.bytes_in_flight.hold() as holding:
            data, seconds = await tools.fetcher.fetch(url, holding, turn_of)
            tools.tally.fetch.append(seconds)
            job = _Job(data, places, request_id, Options(**options), tools)
            del data
            return await _in_thread(job, turn_of, tools)

    made, is_ours = await tools.in_flight.once((request_id, url), make)
    blobs = [made.path(request_id, place) for place in places]
    if not (is_ours and tools.blobs.is_local):  # else the codec's thread has stored it
        began = perf_counter()
        for blob in blobs:
            await _stored(tools.blobs.put(blob, made.result.data), tools.storing)
        tools.tally.store.append(perf_counter() - began)
    tools.tally.count(len(places), made.bytes_in, len(made.result.data))
    return [_success(blob, made) for blob in blobs]


async def _in_thread(job: _Job, turn_of: str, tools: Tools) -> Made:
    if tools.decoding is not None:
        await tools.decoding()
    working = tools.codec.run(job.run, turn_of, is_quick=is_quick(job.data, job.options))
    # Into a folder the thread has stored what it made; an object store is asked afterwards, and may refuse then.
    return await (_stored(working, tools.storing) if tools.blobs.is_local else working)


async def _stored(storing: Awaitable[Result], trouble: Trouble) -> Result:
    """Await what stores; its trouble is told when it begins and when it is over, not for each image."""
    try:
        result = await storing
    except StorageUnavailable as error:
        trouble.note(error)
        raise
    trouble.over()
    return result


@dataclass(slots=True)
class _Job:
    """What a codec thread does for an image, in one go: a thread that is asked twice costs more than a small image."""

    data: bytes
    places: list[Place]
    request_id: str
    options: Options
    tools: Tools

    def run(self) -> Made:
        """Compress, and store into a folder: there that is one thread's work of a moment."""
        made = self._made()
        if self.tools.blobs.is_local:
            began = perf_counter()
            for place in self.places:
                self.tools.blobs.put_local(made.path(self.request_id, place), made.result.data)
            self.tools.tally.store.append(perf_counter() - began)
        return made

    def _made(self) -> Made:
        """Compress; whoever waits for room for the decoded pixels is compressing, too."""
        began = perf_counter()
        room = self.tools.pixels_in_flight.hold
        result = compress(self.data, self.options, max_pixels=self.tools.max_pixels, room=room)
        self.tools.tally.compress.append(perf_counter() - began)
        return Made(result, hashlib.sha256(result.data).hexdigest(), len(self.data))


def _success(blob: str, made: Made) -> Document:
    return {
        "status": ImageStatus.SUCCEEDED,
        "blob": blob,
        "bytes_in": made.bytes_in,
        "bytes_out": len(made.result.data),
        "width": made.result.width,
        "height": made.result.height,
        "kept_original": made.result.kept_original,
    }


def failure(error: ImageError, run: int) -> Document:
    """Return the fields of an image that failed in `run` of its request."""
    metrics.images.labels("failed", error.code).inc()
    return {"status": ImageStatus.FAILED, "run": run, "error": {"code": error.code, "message": error.message[:500]}}
