"""The edge to strangers' servers: aiohttp sessions that connect only where the policy allows, and reads that end.

The policy is asked at the socket (`socket_factory`), with the address about to be connected to. Neither a name that
resolves differently the second time nor a redirect nor a spelling of an address gets past that.
"""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from aiohttp.abc import AbstractResolver

from imagepress import __version__
from imagepress.addresses import AddressPolicy, literal_address
from imagepress.errors import ForbiddenAddress, PermanentError, TooManyBytes
from imagepress.names import ThreadResolver

# zlib's window bits: 15, the largest, plus 32 for "gzip or zlib, look at the header".
_GZIP_OR_ZLIB = 47
# One step of decompression, about a millisecond of the event loop's time.
_INFLATE_STEP_BYTES = 1024 * 1024


class _Refused(OSError):
    """A connection that the policy forbids; its `__cause__` is the `ForbiddenAddress`.

    An OSError, so that the connector goes on to the next address of the name. All are worded alike because
    aiohappyeyeballs merges errors that are worded differently into a new one, which has no cause.
    """

    def __init__(self) -> None:
        super().__init__("the address is not one that imagepress may connect to")


def agent_name(contact: str = "") -> str:
    """Return the User-Agent that names imagepress and, for site owners, the operator's `contact` (address or URL)."""
    product = f"imagepress/{__version__}"
    return f"{product} (+{contact})" if contact else product


def guarded_connector(
    policy: AddressPolicy, *, limit: int, limit_per_host: int, resolver: AbstractResolver
) -> aiohttp.TCPConnector:
    """Return a pool of at most `limit` connections, `limit_per_host` to one host (0: any), all allowed by `policy`.

    A forbidden connection surfaces as `aiohttp.ClientConnectorError`; `forbidden_within` finds the reason.
    """

    def guarded_socket(address_info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = address_info
        try:
            policy.check(str(address[0]), int(address[1]))
        except ForbiddenAddress as forbidden:
            raise _Refused from forbidden
        return socket.socket(family, kind, protocol)

    return aiohttp.TCPConnector(
        limit=limit, limit_per_host=limit_per_host, resolver=resolver, socket_factory=guarded_socket
    )


@asynccontextmanager
async def guarded_session(
    policy: AddressPolicy,
    *,
    user_agent: str,
    limit: int,
    limit_per_host: int = 0,
    connect_seconds: float,
    idle_seconds: float,
    total_seconds: float | None = None,
    resolver: AbstractResolver | None = None,
) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a session for strangers' URLs: no proxies or .netrc from the environment, no cookies, bounded reads.

    `connect_seconds` for each address, TLS included; `idle_seconds` without a byte; `total_seconds` for one request
    with its body (None: the caller's own deadline). Bodies come as they were sent: read them with `read_capped`.
    `resolver` is closed with the session.
    """
    names = resolver or ThreadResolver()
    session = aiohttp.ClientSession(
        connector=guarded_connector(policy, limit=limit, limit_per_host=limit_per_host, resolver=names),
        timeout=aiohttp.ClientTimeout(total=total_seconds, sock_connect=connect_seconds, sock_read=idle_seconds),
        # Images are compressed already; asking for more would only buy decompression bombs.
        headers={"User-Agent": user_agent, "Accept-Encoding": "identity"},
        auto_decompress=False,  # so that bytes on the wire are counted too, and not only those that come out
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )
    try:
        async with session:
            yield session
    finally:
        await names.close()


def forbidden_within(error: BaseException) -> ForbiddenAddress | None:
    """Return the `ForbiddenAddress` because of which a connection failed with `error`, or None.

    aiohttp itself refuses spellings such as `2130706433` and `127.1`, as an invalid URL: that is the same to us.
    """
    if isinstance(error, aiohttp.InvalidURL) and (literal := literal_address(str(error.url))):
        return ForbiddenAddress(f"{error.url} is a disguised spelling of {literal}")
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ForbiddenAddress):
        cause = cause.os_error if isinstance(cause, aiohttp.ClientConnectorError) else cause.__cause__
    return cause


async def read_capped(
    response: aiohttp.ClientResponse, limit: int, admit: Callable[[int], Awaitable[None]] | None = None
) -> bytes:
    """Return the body, gzip and deflate undone, of at most `limit` bytes both on the wire and decoded.

    `admit` is awaited with the number of bytes before each piece is kept: the place to wait for memory. Raises
    `TooManyBytes`, before reading where the Content-Length tells, and `PermanentError` if the encoding is broken or
    unknown. aiohttp's own errors for broken connections pass through.
    """
    declared = response.content_length
    if declared is not None and declared > limit:
        raise TooManyBytes(f"the answer has {declared} bytes; at most {limit} are accepted")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    inflater = None if encoding in ("identity", "") else _Inflater(encoding)
    pieces: list[bytes] = []
    wire = size = 0
    while data := await response.content.readany():
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
        if self._zlib.eof:
            return
        try:
            yield self._zlib.decompress(data, _INFLATE_STEP_BYTES)
            while self._zlib.unconsumed_tail:
                yield self._zlib.decompress(self._zlib.unconsumed_tail, _INFLATE_STEP_BYTES)
        except zlib.error as error:
            raise PermanentError("the answer's compression is broken") from error

    def finish(self) -> None:
        """Raise unless the stream is complete."""
        if not self._zlib.eof:
            raise PermanentError("the answer's compression ends early")


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Return how long a `Retry-After` header asks to wait after `now`, or None if it is absent or makes no sense.

    Seconds or a date (RFC 9110, section 10.2.3); a date that has passed means 0.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])  # years already; more digits would only overflow
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)  # HTTP dates are in UTC, whatever else they say
    return max(0.0, (moment - now).total_seconds())
