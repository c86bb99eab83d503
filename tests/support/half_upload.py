"""A client in the middle of an upload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.support.processes import Service


@dataclass
class HalfUpload:
    """An upload of which only the first half has been sent."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    rest: bytes

    async def finish(self) -> bytes:
        """Send the rest; return the first line of the answer."""
        self.writer.write(self.rest)
        return await self.reader.readline()


@asynccontextmanager
async def half_upload(ingest: Service, content: bytes) -> AsyncIterator[HalfUpload]:
    """Send the first half of an upload of `content`; hang up at the end."""
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="c.csv"\r\n\r\n' + content + b"\r\n--x--\r\n"
    head = (
        "POST /api/upload HTTP/1.1\r\nHost: ingest\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        f"Content-Length: {len(part)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", int(ingest.url.rpartition(":")[2]))
    middle = len(part) // 2
    writer.write(head.encode() + part[:middle])
    await writer.drain()
    try:
        yield HalfUpload(reader, writer, part[middle:])
    finally:
        writer.close()
