"""Names to addresses in threads of our own.

uvloop resolves names in libuv's pool, where two of four threads at most wait for a name server: two domains whose
servers never answer would hold up every other host's images and webhooks.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

THREADS: Final = 64
"""Names asked for at once. A thread is started when it is needed, and waits at most some 20 seconds for an answer."""


class ThreadResolver(AbstractResolver):
    """Asks the system's resolver, a thread for each name being asked for."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the numeric addresses of `host`. Raises `OSError` where there are none."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, _addresses, host, port, socket.AddressFamily(family)
        )
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=kind,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, address in found
        ]

    async def close(self) -> None:
        """Let the threads end by themselves: what they still wait for interests nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _addresses(host: str, port: int, family: socket.AddressFamily) -> list[tuple[int, str]]:
    infos = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    # getnameinfo adds the scope of a link-local address, which the socket address alone has as a number.
    return [
        (kind, socket.getnameinfo(where, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0])
        for kind, _, _, _, where in infos
    ]
