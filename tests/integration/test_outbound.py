"""Outbound connections go where the policy allows: judged by what a real listener accepted, not by what was raised."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from imagepress.addresses import AddressPolicy, parse_networks, parse_ports
from imagepress.errors import PermanentError, TooManyBytes
from imagepress.outbound import agent_name, forbidden_within, guarded_session, read_capped
from tests.support.connections import connections_tried
from tests.support.nameserver import serve_names
from tests.support.origin import Answer, body, endless, gzip_bomb, gzipped, lying, raw, serve_origin

PORTS = parse_ports("1024-65535")
PUBLIC_ONLY = AddressPolicy((), PORTS)
LOOPBACK = AddressPolicy(parse_networks("127.0.0.0/8, ::1/128"), PORTS)
MEBIBYTE = 1024 * 1024

SPELLINGS = [
    "127.0.0.1", "127.0.0.1.", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "0",
    "0.0.0.0", "①②⑦.0.0.1", "１２７.０.０.１", "127。0。0。1", "[::1]", "[::]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1%25lo]", "localhost",
    "LOCALHOST", "example.com@127.0.0.1", "example.com%2f@127.0.0.1", "example.com:80@localhost",
]  # fmt: skip


# One of each range outside the public Internet (IANA's special-purpose registries); test_addresses.py has all.
FORBIDDEN = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "168.63.129.16", "169.254.169.254", "172.16.0.1", "192.0.0.192",
    "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1",
    "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
]  # fmt: skip


@asynccontextmanager
async def session_for(
    policy: AddressPolicy, resolver: AbstractResolver | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    async with guarded_session(
        policy, user_agent="test", limit=10, connect_seconds=2, idle_seconds=2, total_seconds=5, resolver=resolver
    ) as session:
        yield session


async def refused(session: aiohttp.ClientSession, url: str) -> str:
    """Return why the policy refused a connection to `url`."""
    with pytest.raises((aiohttp.ClientConnectorError, aiohttp.InvalidURL)) as caught:
        await session.get(url)
    reason = forbidden_within(caught.value)
    assert reason is not None, caught.value
    return str(reason)


@pytest.mark.parametrize("host", SPELLINGS)
async def test_no_spelling_of_a_local_address_is_connected_to(host: str) -> None:
    """However loopback is spelled, the listener there accepts nothing."""
    async with serve_origin() as origin, session_for(PUBLIC_ONLY) as session:
        with connections_tried() as tried:
            await refused(session, f"http://{host}:{origin.port}/")
        assert origin.connections == 0
        assert tried == []


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f.1", "①②⑦.0.0.1", "[::ffff:127.0.0.1]", "localhost"])
async def test_the_listener_counts_where_loopback_is_allowed(host: str) -> None:
    """The same spellings reach the same listener once the policy allows it: a planted fault would be seen."""
    async with serve_origin({"/": body(b"x")}) as origin, session_for(LOOPBACK) as session:
        with connections_tried() as tried:
            async with session.get(f"http://{host}:{origin.port}/") as response:
                assert await response.read() == b"x"
        assert origin.connections == 1
        assert len(tried) >= 1


async def test_name_that_rebinds_is_judged_at_every_connection() -> None:
    """A name that first leads to an allowed address, then to a forbidden one, is refused the second time."""
    one_address = AddressPolicy(parse_networks("127.0.0.1/32"), PORTS)
    async with (
        serve_names({"rebind.test": [["127.0.0.1"], ["127.0.0.2"]]}) as names,
        serve_origin({"/": body(b"x")}) as allowed,
        serve_origin(host="127.0.0.2") as forbidden,
        session_for(one_address, names.resolver()) as session,
    ):
        async with session.get(allowed.url("/", "rebind.test")) as response:
            assert response.status == 200
        assert await refused(session, forbidden.url("/", "rebind.test")) == "127.0.0.2 is a loopback address"
        assert (allowed.connections, forbidden.connections) == (1, 0)
        assert names.asked == ["rebind.test"] * 2


async def test_forbidden_address_of_a_name_is_passed_over() -> None:
    """A name with a forbidden and an allowed address is reached at the allowed one."""
    one_address = AddressPolicy(parse_networks("127.0.0.1/32"), PORTS)
    async with (
        serve_names({"many.test": [["::1", "10.0.0.1", "127.0.0.1"]]}) as names,
        serve_origin({"/": body(b"x")}) as origin,
        session_for(one_address, names.resolver()) as session,
        session.get(origin.url("/", "many.test")) as response,
    ):
        assert response.status == 200


async def test_name_with_forbidden_addresses_alone_is_refused_with_a_reason() -> None:
    """Where several addresses are forbidden for several reasons, the reason of one of them is told."""
    async with (
        serve_names({"many.test": [["::1", "10.0.0.1", "127.0.0.1", "fe80::1"]]}) as names,
        session_for(PUBLIC_ONLY, names.resolver()) as session,
    ):
        assert " is a " in await refused(session, "http://many.test:8080/")


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_name_that_leads_to_a_forbidden_address_connects_to_nothing(address: str) -> None:
    """Whichever range outside the public Internet a name server answers with, no connection is even tried."""
    async with (
        serve_names({"inner.test": [[address]]}) as names,
        session_for(PUBLIC_ONLY, names.resolver()) as session,
    ):
        with connections_tried() as tried:
            await refused(session, "http://inner.test:8080/")
        assert [where for where in tried if where != ("127.0.0.1", names.port)] == []
        assert names.asked == ["inner.test"]


async def test_other_errors_are_not_taken_for_refusals() -> None:
    """A port where nobody listens is not a forbidden address."""
    async with serve_origin() as origin:
        free = origin.port
    async with session_for(LOOPBACK) as session:
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await session.get(f"http://127.0.0.1:{free}/")
    assert forbidden_within(caught.value) is None


async def test_port_is_judged_too() -> None:
    """An allowed address on a port that is not allowed is refused."""
    async with session_for(LOOPBACK) as session:
        assert await refused(session, "http://127.0.0.1:22/") == "port 22 is not among the allowed ports"


async def test_redirect_to_a_forbidden_address_connects_to_nothing() -> None:
    """aiohttp's own redirects pass the same check."""
    one_address = AddressPolicy(parse_networks("127.0.0.1/32"), PORTS)
    async with serve_origin(host="127.0.0.2") as inner:
        jump = body(b"", code=302, headers={"Location": inner.url("/", "127.0.0.2")})
        async with serve_origin({"/": jump}) as origin, session_for(one_address) as session:
            await refused(session, origin.url("/"))
        assert inner.connections == 0


async def test_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies of the environment are not used: they would connect for us, unguarded."""
    async with serve_origin() as proxy, session_for(PUBLIC_ONLY) as session:
        monkeypatch.setenv("HTTP_PROXY", proxy.url(""))
        monkeypatch.setenv("http_proxy", proxy.url(""))
        await refused(session, "http://127.0.0.3:8080/")
        assert proxy.connections == 0


async def test_no_cookie_comes_back() -> None:
    """What one request's answer sets is not carried to the next: customers share hosts."""
    async with serve_origin({"/": body(b"x", headers={"Set-Cookie": "a=b"})}) as origin:
        async with session_for(LOOPBACK) as session:
            for _ in range(2):
                async with session.get(origin.url("/", "localhost")) as response:
                    await response.read()
        assert [seen.headers.get("cookie") for seen in origin.requests] == [None, None]
        assert origin.requests[0].headers["user-agent"] == "test"


async def read(answer: Answer, limit: int = MEBIBYTE) -> bytes:
    async with (
        serve_origin({"/": answer}) as origin,
        session_for(LOOPBACK) as session,
        session.get(origin.url("/")) as response,
    ):
        return await read_capped(response, limit)


@pytest.mark.parametrize("size", [0, 1, 70_000, MEBIBYTE])
async def test_body_up_to_the_limit_is_read(size: int) -> None:
    """A body of exactly the limit is complete, plain or compressed."""
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert await read(body(content)) == content
    assert await read(gzipped(content)) == content
    deflated = body(zlib.compress(content), headers={"Content-Encoding": "deflate"})
    assert await read(deflated) == content


@pytest.mark.parametrize(
    "answer",
    [
        body(bytes(MEBIBYTE + 1)),
        lying(b"", declared=10**12),
        endless(),
        gzip_bomb(64 * MEBIBYTE),
        endless(b"\0\0\0\xff\xff" * 1000, {"Content-Encoding": "gzip"}),
    ],
    ids=["one too many", "declared", "endless", "gzip bomb", "broken gzip"],
)
async def test_body_beyond_the_limit_is_given_up(answer: Answer) -> None:
    """Bytes are counted on the wire and after decompression; reading ends at the limit."""
    with pytest.raises(PermanentError):
        await read(answer)


async def test_bytes_that_decode_to_nothing_are_counted() -> None:
    """A gzip stream of empty blocks without end meets the limit on the wire."""
    start = gzip.compress(b"")[:10]
    blocks = start + b"\0\0\0\xff\xff" * 13_000
    with pytest.raises(TooManyBytes):
        await read(body(blocks, headers={"Content-Encoding": "gzip"}), limit=60_000)
    with pytest.raises(TooManyBytes):
        await read(raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + blocks), limit=60_000)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (body(b"not gzip", headers={"Content-Encoding": "gzip"}), "broken"),
        (body(gzip.compress(b"x" * 999)[:-9], headers={"Content-Encoding": "gzip"}), "ends early"),
        (body(b"", headers={"Content-Encoding": "gzip"}), "ends early"),
        (body(b"x", headers={"Content-Encoding": "br"}), "not asked for"),
    ],
)
async def test_broken_encoding_is_told(answer: Answer, sentence: str) -> None:
    """A body that cannot be decoded fails for good, with a sentence."""
    with pytest.raises(PermanentError, match=sentence):
        await read(answer)


async def test_what_follows_a_compressed_body_is_passed_over() -> None:
    """Bytes after the end of the stream are not decoded, and cost no more than reading them."""
    answer = body(gzip.compress(b"image") + b"x" * 900_000, headers={"Content-Encoding": "gzip"})
    assert await read(answer) == b"image"


async def test_connection_is_used_again() -> None:
    """A body read to its end leaves the connection for the next request."""
    async with serve_origin({"/": body(b"x")}) as origin, session_for(LOOPBACK) as session:
        for _ in range(5):
            async with session.get(origin.url("/")) as response:
                await read_capped(response, 10)
        assert (len(origin.requests), origin.connections) == (5, 1)


def test_agent_names_product_and_contact() -> None:
    """Site owners can tell who asks, and whom to write to."""
    assert agent_name("https://example.com/bot").startswith("imagepress/")
    assert agent_name("https://example.com/bot").endswith(" (+https://example.com/bot)")
    assert "+" not in agent_name()
