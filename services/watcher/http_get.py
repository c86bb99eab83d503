"""HTTP GET over aiohttp's connections, past its `ClientSession` and its parser.

What these do for a request besides (cookies, proxies, middlewares, redirects, a body to send, all header fields as
text) no image needs, and it took more of the event loop than the rest of a small photograph's way. What connects
(names, guarded sockets, TLS, the pool) remains aiohttp's own. That the connector can be given a protocol of ours is not
documented: the lock file holds its version, and the tests of fetching speak to real servers through it.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Any, Final

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from services.watcher.http_connection import Answer, HttpConnection

_VISIBLE: Final = re.compile(r"[!-~]+")
# Hosts for which what aiohttp wants to connect by is kept; when there are more, all are forgotten.
_MOST_ORIGINS: Final = 1000


class HttpGet:
    """Asks by GET, over connections of `connector` that it keeps."""

    def __init__(
        self, connector: aiohttp.TCPConnector, *, user_agent: str, connect_seconds: float, idle_seconds: float
    ) -> None:
        """Ask in the name of `user_agent`. `connect_seconds` for each address, `idle_seconds` without a byte."""
        self._connector = connector
        protocols = partial(HttpConnection, connector._loop, idle_seconds)
        connector._factory = protocols  # type: ignore[assignment]  # aiohttp names its own class, and asks no more of it
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds)
        # Images are compressed already; asking for more would only buy decompression bombs.
        self._always = f"User-Agent: {user_agent}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n\r\n".encode()
        self._origins: dict[tuple[str, str | None, int | None], aiohttp.ClientRequest] = {}

    def ask(self, url: URL) -> _Exchange:
        """Return a context with the `Answer` to a GET of `url`; its body is to be read within.

        A body that has not arrived by the end costs the connection. Raises `OSError`, `TimeoutError`,
        `aiohttp.ClientError`, and aiohttp's `HttpProcessingError` for what is not HTTP.
        """
        return _Exchange(partial(self._connected, url), _line(url) + self._always)

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

    __slots__ = ("_connect", "_connection", "_request")

    def __init__(self, connect: Callable[[], Awaitable[Connection]], request: bytes) -> None:
        self._connect = connect
        self._request = request

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
            protocol: Any = self._connection.protocol
            answer: Answer = await protocol.ask(self._request)
        except BaseException:
            self._connection.close()
            raise
        return answer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.release()  # which closes it if there is more of the body to come


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
