"""Bodies of answers from a real origin: read to their end, decoded, and given up where they have none."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from yarl import URL

from imagepress.addresses import AddressPolicy, parse_networks, parse_ports
from imagepress.errors import PermanentError, TooManyBytes
from imagepress.outbound import guarded_connector
from services.watcher.body import read_capped
from services.watcher.http_get import HttpGet
from tests.support.origin import Answer, body, endless, gzip_bomb, gzipped, lying, raw, serve_origin

LOOPBACK = AddressPolicy(parse_networks("127.0.0.0/8"), parse_ports("1024-65535"))
MEBIBYTE = 1024 * 1024


@asynccontextmanager
async def asking() -> AsyncIterator[HttpGet]:
    async with guarded_connector(LOOPBACK, limit=10) as connector:
        yield HttpGet(connector, user_agent="test", connect_seconds=2, idle_seconds=2)


async def read(answer: Answer, limit: int = MEBIBYTE) -> bytes:
    async with (
        serve_origin({"/": answer}) as origin,
        asking() as http,
        http.ask(URL(origin.url("/"))) as got,
    ):
        return await read_capped(got, limit)


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


async def test_bytes_that_decode_to_nothing_are_decoded_in_steps() -> None:
    """However much has come meanwhile, so little is decoded at once that the event loop can bear it."""
    blocks = gzip.compress(b"")[:10] + b"\0\0\0\xff\xff" * 60_000
    steps = list[int]()

    async def admit(decoded: int) -> None:
        steps.append(decoded)
        await asyncio.sleep(0.2 if len(steps) == 1 else 0)

    answer = raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + blocks)
    async with serve_origin({"/": answer}) as origin, asking() as http, http.ask(URL(origin.url("/"))) as got:
        with pytest.raises(PermanentError, match="ends early"):
            await read_capped(got, MEBIBYTE, admit)
    assert len(steps) >= len(blocks) / 65_536
    assert sum(steps) == 0


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
    async with serve_origin({"/": body(b"x")}) as origin, asking() as http:
        for _ in range(5):
            async with http.ask(URL(origin.url("/"))) as got:
                await read_capped(got, 10)
        assert (len(origin.requests), origin.connections) == (5, 1)
