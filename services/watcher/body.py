"""Reads the body of an answer, with an end to it: of bytes on the wire, and of what they decode to."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from imagepress.errors import PermanentError, TooManyBytes
from services.watcher.http_connection import Answer

# zlib's window bits: 15, the largest, plus 32 for "gzip or zlib, look at the header".
_GZIP_OR_ZLIB: Final = 47
# One step of decompression, about a millisecond of the event loop's time.
_INFLATE_STEP_BYTES: Final = 1024 * 1024
# What goes into one: bytes that decode to nothing take time as well.
_DEFLATED_STEP_BYTES: Final = 64 * 1024


async def read_capped(answer: Answer, limit: int, admit: Callable[[int], Awaitable[None]] | None = None) -> bytes:
    """Return the body, gzip and deflate undone, of at most `limit` bytes both on the wire and decoded.

    `admit` is awaited with the number of bytes before each piece is kept: the place to wait for memory. Raises
    `TooManyBytes`, before reading where the Content-Length tells, and `PermanentError` if the encoding is broken or
    unknown. aiohttp's own errors for broken connections pass through.
    """
    declared = answer.content_length
    if declared is not None and declared > limit:
        raise TooManyBytes(f"the answer has {declared} bytes; at most {limit} are accepted")
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    inflater = None if encoding in ("identity", "") else _Inflater(encoding)
    pieces: list[bytes] = []
    wire = size = 0
    while data := await answer.content.read():
        wire += len(data)  # counted as well: empty blocks decode to nothing, for ever
        for piece in (data,) if inflater is None else inflater.steps(data):
            size += len(piece)
            if max(wire, size) > limit:
                raise TooManyBytes(f"the answer has more than the {limit} bytes that are accepted")
            if admit is not None:
                await admit(len(piece))
            if inflater is not None:
                await asyncio.sleep(0)  # a bomb's steps come without a pause; others want their turn
            pieces.append(piece)
    if inflater is not None:
        inflater.finish()
    return b"".join(pieces)  # one join: no copy at all for a single piece


class _Inflater:
    """A gzip or deflate body, decoded in steps that the event loop can bear."""

    def __init__(self, encoding: str) -> None:
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise PermanentError(f"the answer came in the encoding {encoding[:32]!r}, which was not asked for")
        self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB)

    def steps(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` decodes to; what follows the end of the stream is passed over, as browsers do."""
        try:
            for start in range(0, len(data), _DEFLATED_STEP_BYTES):
                if self._zlib.eof:
                    return
                yield self._zlib.decompress(data[start : start + _DEFLATED_STEP_BYTES], _INFLATE_STEP_BYTES)
                while self._zlib.unconsumed_tail:
                    yield self._zlib.decompress(self._zlib.unconsumed_tail, _INFLATE_STEP_BYTES)
        except zlib.error as error:
            raise PermanentError("the answer's compression is broken") from error

    def finish(self) -> None:
        """Raise unless the stream is complete."""
        if not self._zlib.eof:
            raise PermanentError("the answer's compression ends early")
