"""One connection that GETs are sent over, one after the other; httptools (llhttp, Node's parser) reads the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from services.watcher.pooled_protocol import PooledProtocol
from services.watcher.silence import Silence

MOST_INTERIM: Final = 8
"""Early hints and the like that may come before the answer itself."""

MOST_FIELDS: Final = 128
MOST_FIELD_BYTES: Final = 16 * 1024
MOST_DIGITS: Final = 20
"""Of a declared length: more would make the image too large in any case, or `int` refuse."""

MOST_BARREN_BYTES: Final = 64 * 1024
"""What may come without a head being complete, or without a byte of the body: endless heads, trailers, blank lines."""

BUFFER_BYTES: Final = 128 * 1024
"""Of a body that nobody reads yet, so much and what one read of the socket brings may arrive before the host waits."""

WORTH_WAKING_BYTES: Final = 64 * 1024
"""Of a body so much is told at once, or its end: to be woken costs its reader as much as to parse tens of kilobytes."""

# The fields that anybody asks for. Of several by one name the last one counts.
_KEPT: Final = frozenset({b"content-length", b"content-encoding", b"transfer-encoding", b"location", b"retry-after"})


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose body is yet to be read."""

    status: int
    headers: Mapping[str, str]
    """By name, in lower case: those that matter here."""
    content: HttpConnection

    @property
    def content_length(self) -> int | None:
        """The body's length in bytes as declared, None where it was not."""
        declared = self.headers.get("content-length")
        return None if declared is None else int(declared)


class HttpConnection(PooledProtocol):
    """`ask`, then `read` until the end. Who leaves before the end, or was told to, leaves it to be closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, idle_seconds: float) -> None:
        """Wait to be connected. Of an answer, `idle_seconds` may pass without a byte."""
        super().__init__(loop)
        self._parser = HttpResponseParser(self)
        # What browsers forgive, and aiohttp's own client does.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._is_spent = False
        """Whether no other answer may come over it."""
        self._is_complete = True
        self._waiter: asyncio.Future[None] | None = None
        self._silence = Silence(loop, idle_seconds, self._has_fallen_silent)
        self._reset()

    def _reset(self) -> None:
        self._error: Exception | None = None
        self._status = 0
        """Of the answer itself; 0 until its head is complete."""
        self._headers: dict[bytes, bytes] = {}
        self._is_framed = True
        """Whether the answer says where it ends; else its end is that of the connection."""
        self._wanted = 0
        """Bytes of the body for which whoever waits is woken; with less only at the end."""
        self._fields = self._interim = self._barren = self._waiting_bytes = 0
        self._pieces: list[bytes] = []
        """Of the body, from one read of the socket."""
        self._chunks: list[bytes] = []
        """Of the body, from several, until somebody reads."""
        self._is_paused = False

    # What an exchange asks for.

    async def ask(self, request: bytes) -> Answer:
        """Send a GET; return its answer, the first that is not interim (RFC 9110, section 15.2).

        A success of at most `WORTH_WAKING_BYTES` is complete then, unless it broke off, which `read` will tell.
        Raises aiohttp's `ClientError` (`SocketTimeoutError` after a silence) and `HttpProcessingError`.
        """
        transport = self.transport
        # What came while nobody had asked for anything is no answer to this.
        if transport is None or transport.is_closing() or self._is_spent:
            raise aiohttp.ServerDisconnectedError
        self._reset()
        self._is_complete = False
        self._silence.begin()
        transport.write(request)
        while not self._status:
            await self._more()
        headers = {name.decode(): value.decode("utf-8", "surrogateescape") for name, value in self._headers.items()}
        return Answer(self._status, headers, self)

    async def read(self) -> bytes:
        """Return what has come of the body, waiting for `WORTH_WAKING_BYTES` where there is nothing; empty at its end.

        Raises like `ask`.
        """
        while not self._chunks:
            if self._is_complete:
                return b""
            self._wanted = WORTH_WAKING_BYTES
            await self._more()
        waited, self._chunks, self._waiting_bytes = self._chunks, [], 0
        if self._is_paused:
            self._is_paused = False
            self._silence.begin()
            self.resume_reading()
        return _joined(waited)

    async def _more(self) -> None:
        """Wait until there is enough, or an end of it."""
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end(self) -> None:
        """All is here: from now on whoever reads takes the time."""
        self._is_complete = True
        self._silence.end()

    def _has_fallen_silent(self) -> None:
        self._fail(aiohttp.SocketTimeoutError("nothing has come for a while"))

    def _fail(self, error: Exception) -> None:
        if self._error is None and not self._is_complete:
            self._error = error
        self._is_spent = True
        self._wake()

    # What comes, as the event loop tells it.

    def data_received(self, data: bytes) -> None:
        """Read on, an answer or a piece of one."""
        if self._is_complete:
            self._is_spent = True
            self.hang_up()
            return
        self._silence.heard()
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._is_spent = True
            self._end()
        except HttpParserError as error:
            self._is_complete = False  # more than was asked for: then who knows what of it is the answer
            self._fail(HttpProcessingError(message=str(error)))
            self.hang_up()
        self._count(len(data))
        if self._is_complete or (self._status and self._waiting_bytes >= self._wanted):
            self._wake()

    def _count(self, received: int) -> None:
        """Bound what waits, and what is neither head nor body."""
        if self._pieces:
            chunk = _joined(self._pieces)
            self._pieces = []
            self._chunks.append(chunk)
            self._waiting_bytes += len(chunk)
            self._barren = 0
            if self._waiting_bytes > BUFFER_BYTES and not self._is_complete:
                self._is_paused = True
                self._silence.end()
                self.pause_reading()
        elif not self._is_complete:
            self._barren += received
            if self._barren > MOST_BARREN_BYTES:
                self._fail(HttpProcessingError(message="a head, or something between, without end"))
                self.hang_up()

    # What comes, as the parser tells it.

    def on_message_begin(self) -> None:
        """Refuse an answer that nobody asked for, and interim ones without end."""
        if self._is_complete:
            raise HttpProcessingError(message="more than was asked for")
        self._interim += 1
        if self._interim > 1 + MOST_INTERIM:
            raise HttpProcessingError(message="interim answers without end")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep what matters of the head; trailers do not."""
        self._fields += 1
        if self._fields > MOST_FIELDS or len(name) + len(value) > MOST_FIELD_BYTES:
            raise HttpProcessingError(message="too many header fields, or too long ones")
        name = name.strip().lower()  # llhttp heeds, and hands over, a name with a space behind it
        if name in _KEPT and not self._status:
            self._headers[name] = value.strip()

    def on_headers_complete(self) -> None:
        """The head is there, of the answer itself or of an interim one."""
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._headers.clear()
            return
        declared = self._headers.get(b"content-length")
        if status < 100 or (declared is not None and len(declared) > MOST_DIGITS):
            raise HttpProcessingError(message="a status or a length that makes no sense")
        self._status = status
        coding = self._headers.get(b"transfer-encoding", b"").lower()
        if 200 <= status < 300 and declared is not None and int(declared) <= WORTH_WAKING_BYTES:
            self._wanted = WORTH_WAKING_BYTES  # it is told when all of it is here
        self._is_framed = declared is not None or coding.endswith(b"chunked")

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        """The answer is complete, unless it was an interim one."""
        if self._status:
            self._end()
            self._is_spent = self._is_spent or not self._parser.should_keep_alive()

    # What its pool asks and tells.

    @property
    def should_close(self) -> bool:
        """Whether no other request may be sent over it."""
        return self._is_spent or self.is_lost or self._is_paused or not self._is_complete

    def forget(self) -> None:
        """Hold on to nothing, an error's traceback least of all: it leads back here."""
        self._error = None
        self._chunks.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is under way: well, if its end is that of the connection."""
        super().connection_lost(exc)
        del self._parser  # which leads back here, too
        self._silence.close()
        if exc is None and self._status and not self._is_framed:
            self._end()
        if isinstance(exc, OSError):
            self._fail(aiohttp.ClientOSError(*exc.args))
        elif self._status:
            self._fail(aiohttp.ClientPayloadError("the body is not complete"))
        else:
            self._fail(aiohttp.ServerDisconnectedError())


def _joined(parts: list[bytes]) -> bytes:
    """Return `parts` as one, which a single one is without a copy."""
    return parts[0] if len(parts) == 1 else b"".join(parts)
