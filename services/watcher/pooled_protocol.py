"""What aiohttp's connector asks of the protocols that it makes, keeps and closes (3.14; it is not documented)."""

from __future__ import annotations

import asyncio
from typing import cast


class PooledProtocol(asyncio.Protocol):
    """A connection in aiohttp's pool. Who inherits says whether it may be used again, and what its end means."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait to be connected."""
        self._loop = loop
        self._closed: asyncio.Future[None] | None = None
        self.is_lost = False
        """Whether it was closed, by whomever."""
        self.transport: asyncio.Transport | None = None

    @property
    def should_close(self) -> bool:
        """Whether no other request may be sent over it."""
        raise NotImplementedError

    def forget(self) -> None:
        """Hold on to nothing: nobody reads from it any more."""
        raise NotImplementedError

    @property
    def closed(self) -> asyncio.Future[None] | None:
        """What is done once the connection is closed; None where it was closed before anybody asked."""
        if self._closed is None and not self.is_lost:
            self._closed = self._loop.create_future()
        return self._closed

    def is_connected(self) -> bool:
        """Return whether it is open."""
        return self.transport is not None and not self.transport.is_closing()

    def close(self) -> None:
        """Close it, letting TLS say goodbye; nobody reads from it any more."""
        self.hang_up()
        self.transport = None
        self.forget()

    def abort(self) -> None:
        """Close it at once; nobody reads from it any more."""
        if self.transport is not None:
            self.transport.abort()
        self.transport = None
        self.forget()

    def hang_up(self) -> None:
        """Close it; what has come may still be read."""
        if self.transport is not None:
            self.transport.close()

    def pause_reading(self) -> None:
        """Let nothing come, unless it is closed anyway: event loops differ in what they say to that."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Let more come."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be connected."""
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Be closed."""
        self.is_lost = True
        self.transport = None
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
