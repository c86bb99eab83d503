"""One image: fetched, compressed in a codec thread, stored. A failure has a code and a reason."""

from __future__ import annotations

import asyncio
import hashlib
import time
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from imagepress import metrics
from imagepress.blobs import Blobs
from imagepress.documents import ImageStatus, image_path
from imagepress.errors import ImageError
from services.watcher.budget import Budget
from services.watcher.compress import Compressed, Options, compress, inspect
from services.watcher.fetch import Fetcher
from services.watcher.turns import Turns

Document = dict[str, Any]


class CodecStuck(Exception):
    """A decoder does not come back: its thread cannot be stopped, only the process can."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a process has for working on images, shared by all its batches."""

    fetcher: Fetcher
    blobs: Blobs
    codec: Executor
    fetching: Turns
    compressing: Turns
    bytes_in_flight: Budget
    pixels_in_flight: Budget
    max_pixels: int
    codec_seconds: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image stands: row of the file and place in the row, both from 0."""

    row: int
    n: int


async def deliver(
    url: str, places: list[Place], *, request_id: str, options: Document, turn_of: str, tools: Tools
) -> list[Document]:
    """Fetch `url`, compress and store it once for each of `places`; return the fields of a success for each.

    Raises `ImageError`, `StorageUnavailable` (try again later), `CodecStuck`.
    """
    async with tools.bytes_in_flight.hold() as holding:
        async with tools.fetching.place(turn_of):
            with metrics.stage_seconds.labels("fetch").time():
                data = await tools.fetcher.fetch(url, holding)
        bytes_in = len(data)
        async with tools.compressing.place(turn_of):
            result = await _compressed(data, Options(**options), tools)
        del data
    digest = hashlib.sha256(result.data).hexdigest()
    blobs = [image_path(request_id, place.row, place.n, digest, result.extension) for place in places]
    with metrics.stage_seconds.labels("store").time():
        for blob in blobs:
            await tools.blobs.put(blob, result.data)
    _count(bytes_in, result, len(blobs))
    return [_success(blob, bytes_in, result) for blob in blobs]


async def _compressed(data: bytes, options: Options, tools: Tools) -> Compressed:
    """Compress in a codec thread, once there is room for the decoded pixels."""
    inspected = inspect(data, options, max_pixels=tools.max_pixels)
    async with tools.pixels_in_flight.hold(inspected.pixels):
        began = time.perf_counter()
        job = asyncio.get_running_loop().run_in_executor(tools.codec, _compress, data, options, tools.max_pixels)
        done, _ = await asyncio.wait({job}, timeout=tools.codec_seconds)
        if not done:
            raise CodecStuck(f"a decoder has not come back for {tools.codec_seconds:g} s")
        metrics.stage_seconds.labels("compress").observe(time.perf_counter() - began)
        return job.result()


def _compress(data: bytes, options: Options, max_pixels: int) -> Compressed:
    return compress(data, options, max_pixels=max_pixels)


def _success(blob: str, bytes_in: int, result: Compressed) -> Document:
    return {
        "status": ImageStatus.SUCCEEDED,
        "blob": blob,
        "bytes_in": bytes_in,
        "bytes_out": len(result.data),
        "width": result.width,
        "height": result.height,
        "kept_original": result.kept_original,
    }


def failure(error: ImageError, run: int) -> Document:
    """Return the fields of an image that failed in `run` of its request."""
    metrics.images.labels("failed", error.code).inc()
    return {"status": ImageStatus.FAILED, "run": run, "error": {"code": error.code, "message": error.message[:500]}}


def _count(bytes_in: int, result: Compressed, number: int) -> None:
    metrics.images.labels("succeeded", "").inc(number)
    metrics.image_bytes.labels("input").inc(bytes_in * number)
    metrics.image_bytes.labels("output").inc(len(result.data) * number)
