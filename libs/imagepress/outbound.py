"""The edge to strangers' servers: aiohttp's connections, made only where the policy allows.

The policy is asked at the socket (`socket_factory`), with the address about to be connected to. Neither a name that
resolves differently the second time nor a redirect nor a spelling of an address gets past that.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from aiohttp.abc import AbstractResolver

from imagepress import __version__
from imagepress.addresses import AddressPolicy, literal_address
from imagepress.errors import ForbiddenAddress
from imagepress.names import ThreadResolver


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


@asynccontextmanager
async def guarded_connector(
    policy: AddressPolicy, *, limit: int, limit_per_host: int = 0, resolver: AbstractResolver | None = None
) -> AsyncIterator[aiohttp.TCPConnector]:
    """Open a pool of at most `limit` connections, `limit_per_host` to one host (0: any), all allowed by `policy`.

    A forbidden connection surfaces as `aiohttp.ClientConnectorError`; `forbidden_within` finds the reason. `resolver`
    is closed with the pool.
    """

    def guarded_socket(address_info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = address_info
        try:
            policy.check(str(address[0]), int(address[1]))
        except ForbiddenAddress as forbidden:
            raise _Refused from forbidden
        return socket.socket(family, kind, protocol)

    names = resolver or ThreadResolver()
    try:
        connector = aiohttp.TCPConnector(
            limit=limit, limit_per_host=limit_per_host, resolver=names, socket_factory=guarded_socket
        )
        async with connector:
            yield connector
    finally:
        await names.close()


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
    """Open a session for strangers' URLs: no proxies or .netrc from the environment, no cookies, bodies as they come.

    `connect_seconds` for each address, TLS included; `idle_seconds` without a byte; `total_seconds` for one request
    with its body (None: the caller's own deadline). `resolver` is closed with the session.
    """
    async with (
        guarded_connector(policy, limit=limit, limit_per_host=limit_per_host, resolver=resolver) as connector,
        aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=total_seconds, sock_connect=connect_seconds, sock_read=idle_seconds),
            headers={"User-Agent": user_agent, "Accept-Encoding": "identity"},
            auto_decompress=False,  # so that bytes on the wire are counted, and not only those that come out
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        ) as session,
    ):
        yield session


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
