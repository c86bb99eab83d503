"""Outbound connections go where the policy allows: judged by what a real listener accepted, not by what was raised."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from imagepress.addresses import AddressPolicy, parse_networks, parse_ports
from imagepress.outbound import agent_name, forbidden_within, guarded_session
from tests.support.addresses import FORBIDDEN, SPELLINGS
from tests.support.connections import connections_tried
from tests.support.nameserver import serve_names
from tests.support.origin import body, serve_origin

PORTS = parse_ports("1024-65535")
PUBLIC_ONLY = AddressPolicy((), PORTS)
LOOPBACK = AddressPolicy(parse_networks("127.0.0.0/8, ::1/128"), PORTS)


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


def test_agent_names_product_and_contact() -> None:
    """Site owners can tell who asks, and whom to write to."""
    assert agent_name("https://example.com/bot").startswith("imagepress/")
    assert agent_name("https://example.com/bot").endswith(" (+https://example.com/bot)")
    assert "+" not in agent_name()
