"""HTTP GET by aiohttp's connections and its parser, past its `ClientSession`.

What a session does for a request besides (cookies, proxies, middlewares, redirects, a body to send) no image needs, and
it took more of the event loop than the rest of a small photograph's way. What connects (names, guarded sockets, TLS,
the pool of connections) and what reads HTTP remain aiohttp's own. `Connection.protocol` is not documented: the
lock file holds its version, and the tests of fetching speak to real servers through it.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader
from yarl import URL

_VISIBLE: Final = re.compile(r"[!-~]+")
# Hosts for which what aiohttp wants to connect by is kept; when there are more, all are forgotten.
_MOST_ORIGINS: Final = 1000
# Early hints and the like that may come before the answer itself.
_MOST_INTERIM: Final = 8
# Of a body that nobody reads yet, twice this may arrive before the host has to wait.
_BUFFER_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose body is yet to be read."""

    status: int
    headers: Mapping[str, str]
    """By name, in whichever case."""
    content: StreamReader

    @property
    def content_length(self) -> int | None:
        """The body's length in bytes as declared, None where it was not."""
        declared = self.headers.get("Content-Length")
        return None if declared is None else int(declared)


class HttpGet:
    """Asks by GET, over connections of `connector` that it keeps."""

    def __init__(
        self, connector: aiohttp.TCPConnector, *, user_agent: str, connect_seconds: float, idle_seconds: float
    ) -> None:
        """Ask in the name of `user_agent`. `connect_seconds` for each address, `idle_seconds` without a byte."""
        self._connector = connector
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds)
        self._idle_seconds = idle_seconds
        # Images are compressed already; asking for more would only buy decompression bombs.
        self._always = f"User-Agent: {user_agent}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n\r\n".encode()
        self._origins: dict[tuple[str, str | None, int | None], aiohttp.ClientRequest] = {}

    def ask(self, url: URL) -> _Exchange:
        """Return a context with the `Answer` to a GET of `url`; its body is to be read within.

        A body that has not arrived by the end costs the connection. Raises `OSError`, `TimeoutError`,
        `aiohttp.ClientError`, and aiohttp's `HttpProcessingError` for what is not HTTP.
        """
        return _Exchange(partial(self._connected, url), _line(url) + self._always, self._idle_seconds)

    async def _connected(self, url: URL) -> Connection:
        key = (url.scheme, url.raw_host, url.port)
        origin = self._origins.get(key)
        if origin is None:
            if len(self._origins) >= _MOST_ORIGINS:
                self._origins.clear()
            origin = self._origins[key] = aiohttp.ClientRequest("GET", url.origin())
        return await self._connector.connect(origin, [], self._timeout)


class _Exchange:
    """A request and its answer on one connection."""

    __slots__ = ("_connect", "_connection", "_idle_seconds", "_request")

    def __init__(self, connect: Callable[[], Awaitable[Connection]], request: bytes, idle_seconds: float) -> None:
        self._connect = connect
        self._request = request
        self._idle_seconds = idle_seconds

    async def __aenter__(self) -> Answer:
        try:
            return await self._begun()
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            # A kept connection may have been closed in this very moment; to GET twice is harmless (RFC 9110, 9.2.2).
            return await self._begun()

    async def _begun(self) -> Answer:
        self._connection = await self._connect()
        try:
            return await self._answered()
        except BaseException:
            self._connection.close()
            raise

    async def _answered(self) -> Answer:
        protocol, transport = self._connection.protocol, self._connection.transport
        # What came while nobody had asked for anything is no answer to this.
        if protocol is None or transport is None or transport.is_closing() or protocol.should_close:
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(
            read_until_eof=True,
            auto_decompress=False,  # so that bytes on the wire are counted too, and not only those that come out
            read_timeout=self._idle_seconds,
            read_bufsize=_BUFFER_BYTES,
        )
        transport.write(self._request)
        protocol.start_timeout()
        message, content = await _final(protocol)
        # All is here: from now on whoever reads takes the time. (Reading on after a pause would start the timer again.)
        content.on_eof(partial(setattr, protocol, "read_timeout", None))
        return Answer(message.code, message.headers, content)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.release()  # which closes it if there is more of the body to come


async def _final(protocol: ResponseHandler) -> tuple[RawResponseMessage, StreamReader]:
    """Return the first answer that is not interim (RFC 9110, section 15.2), unless there are too many of these."""
    for _ in range(_MOST_INTERIM + 1):
        message, content = await protocol.read()
        if not 100 <= message.code < 200 or message.code == 101:
            return message, content
    raise HttpProcessingError(message="interim answers without end")


def _line(url: URL) -> bytes:
    """Return the request line and what of the head depends on the URL. Raises `aiohttp.InvalidURL`."""
    target, host, user = url.raw_path_qs, url.host_port_subcomponent or "", url.user or ""
    if not _VISIBLE.fullmatch(target) or not _VISIBLE.fullmatch(host) or ":" in user:
        raise aiohttp.InvalidURL(url.raw_host or "", "no request can be made of it")
    line = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n"
    if url.raw_user is not None or url.raw_password is not None:
        credentials = b64encode(f"{user}:{url.password or ''}".encode())  # RFC 7617, section 2: a user has no colon
        line += f"Authorization: Basic {credentials.decode()}\r\n"
    return line.encode("ascii")
