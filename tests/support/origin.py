"""A real HTTP origin on loopback that answers each path as told, well or badly, and counts what reaches it.

    async with serve_origin({"/a.jpg": body(b"..."), "/gone": status(404)}) as origin:
        ... origin.url("/a.jpg") ... origin.connections ... origin.requests

Answers may be added or changed while it runs (`origin.answers["/b"] = ...`). An answer writes to the connection and
says whether it may be kept for another request.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support.listening import listening

Answer = Callable[[asyncio.StreamWriter], Awaitable[bool]]


@dataclass(frozen=True)
class Seen:
    path: str
    headers: Mapping[str, str]


@dataclass
class Origin:
    """What runs: where it is, what it answers, and what it has seen."""

    answers: dict[str, Answer]
    port: int = 0
    scheme: str = "http"
    connections: int = 0  # accepted by the listener
    open_now: int = 0  # requests being answered
    most_open: int = 0
    requests: list[Seen] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """Return the URL of `path` here, by `host`'s name."""
        return f"{self.scheme}://{host}:{self.port}{path}"

    def count(self, path: str) -> int:
        """Return how often `path` was asked for."""
        return sum(seen.path == path for seen in self.requests)

    async def reached(self, condition: Callable[[Origin], bool], seconds: float = 5) -> None:
        """Wait until what the origin has seen meets `condition`; raise `TimeoutError` if it does not in `seconds`."""
        async with asyncio.timeout(seconds):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what comes in on one connection."""
        self.connections += 1
        kept = True
        while kept and (seen := await read_head(reader)):
            self.requests.append(seen)
            self.open_now += 1
            self.most_open = max(self.most_open, self.open_now)
            self._changed.set()
            try:
                kept = await self.answers.get(seen.path, status(404))(writer)
            finally:
                self.open_now -= 1
            await writer.drain()


async def read_head(reader: asyncio.StreamReader) -> Seen | None:
    """Read one request without a body; None where the client hangs up."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    pairs = (line.partition(":") for line in lines)
    return Seen(first.split(" ")[1], {name.lower(): value.strip() for name, _, value in pairs})


@asynccontextmanager
async def serve_origin(
    answers: Mapping[str, Answer] | None = None, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Origin]:
    """Serve `answers` (path to answer) on a free port until the context ends, then cut every connection."""
    origin = Origin(dict(answers or {}), scheme="https" if tls else "http")
    async with listening(origin.serve, host, tls) as origin.port:
        yield origin


def body(content: bytes, kind: str = "image/jpeg", code: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer properly: `content` with its length, on a connection that is kept."""
    lines = {"Content-Type": kind, "Content-Length": str(len(content))} | dict(headers or {})
    answer = _head(code, lines) + content

    async def write(writer: asyncio.StreamWriter) -> bool:
        writer.write(answer)
        return True

    return write


def status(code: int, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with a status and no body."""
    return body(b"", "text/plain", code, headers)


def redirect(to: str, code: int = 302) -> Answer:
    """Send the client to `to`."""
    return status(code, {"Location": to})


def in_turn(*answers: Answer) -> Answer:
    """Give one answer after the other, the last one for ever."""
    queue = itertools.chain(answers, itertools.repeat(answers[-1]))

    async def write(writer: asyncio.StreamWriter) -> bool:
        return await next(queue)(writer)

    return write


def held(until: asyncio.Event, then: Answer) -> Answer:
    """Answer with `then`, but not before `until` is set: a slow host without a clock."""

    async def write(writer: asyncio.StreamWriter) -> bool:
        await until.wait()
        return await then(writer)

    return write


def silent() -> Answer:
    """Accept the request and never answer."""
    return held(asyncio.Event(), status(200))


def lying(content: bytes, declared: int) -> Answer:
    """Declare `declared` bytes, send `content` and hang up."""

    async def write(writer: asyncio.StreamWriter) -> bool:
        writer.write(_head(200, {"Content-Length": str(declared)}) + content)
        return False

    return write


def dripping(seconds: float, length: int = 1_000_000) -> Answer:
    """Send a byte every `seconds`."""

    async def write(writer: asyncio.StreamWriter) -> bool:
        writer.write(_head(200, {"Content-Length": str(length)}))
        for _ in range(length):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(seconds)
        return False

    return write


def endless(piece: bytes = b"x" * 65536, headers: Mapping[str, str] | None = None) -> Answer:
    """Send `piece` again and again, in chunks, without an end."""

    async def write(writer: asyncio.StreamWriter) -> bool:
        writer.write(_head(200, {"Transfer-Encoding": "chunked"} | dict(headers or {})))
        while True:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()

    return write


def gzipped(content: bytes) -> Answer:
    """Answer with `content` compressed, whether asked for or not."""
    return body(gzip.compress(content), headers={"Content-Encoding": "gzip"})


def gzip_bomb(size: int) -> Answer:
    """Answer with `size` bytes of zeros, a thousandth of that on the wire."""
    deflater = zlib.compressobj(9, wbits=31)
    step = bytes(1024 * 1024)
    wire = b"".join(deflater.compress(step) for _ in range(size // len(step))) + deflater.flush()
    return body(wire, headers={"Content-Encoding": "gzip"})


def reset() -> Answer:
    """Cut the connection with a TCP reset."""

    async def write(writer: asyncio.StreamWriter) -> bool:
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return False

    return write


def raw(answer: bytes) -> Answer:
    """Send these very bytes and hang up."""

    async def write(writer: asyncio.StreamWriter) -> bool:
        writer.write(answer)
        return False

    return write


def _head(code: int, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {code} Answer\r\n{lines}\r\n".encode("latin-1")
