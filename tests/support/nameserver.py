"""A real name server on loopback, which may answer differently each time, and a resolver that asks it.

async with serve_names({"rebind.test": [["1.1.1.1"], ["10.0.0.1"]]}) as names:
    ... names.resolver() ... names.asked
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from aiohttp.abc import AbstractResolver, ResolveResult

KINDS = {socket.AF_INET: dns.rdatatype.A, socket.AF_INET6: dns.rdatatype.AAAA}


@dataclass
class Names(asyncio.DatagramProtocol):
    """What runs: where it is, what it answers (each list of addresses once, the last for ever), who was asked for."""

    answers: dict[str, list[list[str]]]
    port: int = 0
    asked: list[str] = field(default_factory=list)
    _transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # asyncio's own is no subclass of it
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:
        """Answer a question, for addresses of one kind."""
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        if name not in self.answers:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif addresses := self._next(name, question.rdtype):
            reply.answer.append(dns.rrset.from_text(question.name, 0, question.rdclass, question.rdtype, *addresses))
        assert self._transport is not None
        self._transport.sendto(reply.to_wire(), addr)

    def _next(self, name: str, kind: dns.rdatatype.RdataType) -> list[str]:
        lists = self.answers[name]
        wanted = [address for address in lists[0] if (":" in address) == (kind == dns.rdatatype.AAAA)]
        if kind == dns.rdatatype.A:  # asked for last: see `resolve`
            self.asked.append(name)
            if len(lists) > 1:
                del lists[0]
        return wanted

    def resolver(self) -> AbstractResolver:
        """Return a resolver whose only name server is this."""
        return _Asking(self.port)


class _Asking(AbstractResolver):
    """Asks the name server at a port of loopback, without a cache."""

    def __init__(self, port: int) -> None:
        self._names = dns.asyncresolver.Resolver(configure=False)
        self._names.nameservers, self._names.port, self._names.lifetime = ["127.0.0.1"], port, 5.0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return all addresses of `host`; raise `OSError` where there are none."""
        del family
        found: list[ResolveResult] = []
        for kind in (socket.AF_INET6, socket.AF_INET):
            try:
                answer = await self._names.resolve(host, KINDS[kind], raise_on_no_answer=False)
            except dns.exception.DNSException as error:
                raise OSError(socket.EAI_NONAME, str(error)) from error
            numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
            found += [
                ResolveResult(hostname=host, host=one.to_text(), port=port, family=kind, proto=0, flags=numeric)
                for one in answer.rrset or ()
            ]
        return found

    async def close(self) -> None:
        """Hold nothing."""


@asynccontextmanager
async def serve_names(answers: Mapping[str, list[list[str]]]) -> AsyncIterator[Names]:
    """Serve `answers` on a free UDP port of loopback until the context ends."""
    loop = asyncio.get_running_loop()
    transport, names = await loop.create_datagram_endpoint(
        lambda: Names({name: list(lists) for name, lists in answers.items()}), ("127.0.0.1", 0)
    )
    try:
        yield names
    finally:
        transport.close()
