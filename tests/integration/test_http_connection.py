"""Answers as real servers send them, byte by byte, over a connection that is kept: read, bounded, or refused."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from imagepress.addresses import AddressPolicy, parse_networks, parse_ports
from imagepress.outbound import guarded_connector
from services.watcher.http_connection import (
    BUFFER_BYTES,
    MOST_BARREN_BYTES,
    MOST_FIELD_BYTES,
    MOST_FIELDS,
    WORTH_WAKING_BYTES,
)
from services.watcher.http_get import HttpGet
from tests.support.heartbeat import heart

OK = b"HTTP/1.1 200 OK\r\n"
LOOPBACK = AddressPolicy(parse_networks("127.0.0.0/8"), parse_ports("1024-65535"))


@asynccontextmanager
async def serving(*answers: bytes, pause: float = 0.0, stays: bool = True) -> AsyncIterator[tuple[URL, list[int]]]:
    """Send the next of `answers` at each request, whoever asks; yield the address and how often was connected.

    At `<pause>` within an answer there is one. With `stays` the connection is left open after it.
    """
    left, connections = list(answers), list[int]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        try:
            while left:
                await reader.readuntil(b"\r\n\r\n")
                for piece in left.pop(0).split(b"<pause>"):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(pause)
                if not stays:
                    break
            else:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a"), connections


@asynccontextmanager
async def asking(idle_seconds: float = 5.0) -> AsyncIterator[HttpGet]:
    async with guarded_connector(LOOPBACK, limit=4) as connector:
        yield HttpGet(connector, user_agent="test", connect_seconds=5, idle_seconds=idle_seconds)


async def got(http: HttpGet, url: URL) -> tuple[int, bytes]:
    """Return status and whole body."""
    async with http.ask(url) as answer:
        body = b""
        while piece := await answer.content.read():
            body += piece
        return answer.status, body


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK + b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (OK + b"Content-Length: 3\r\n<pause>\r\na<pause>bc", b"abc"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\nTrailer: t\r\n\r\n", b"abc"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n", b"a"),
        (OK + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\na", b"a"),
        (b"HTTP/1.1 204 None\r\n\r\n", b""),
        (b"HTTP/1.1 103 Hints\r\nContent-Length: 9\r\n\r\n<pause>" + OK + b"Content-Length: 1\r\n\r\na", b"a"),
        (b"HTTP/1.1 200 OK\nContent-Length: 1\nX-Odd: \x01\n\na", b"a"),
    ],
    ids=["length", "pieces", "chunks", "space", "h2c", "empty", "interim", "line feeds"],
)
async def test_the_connection_is_kept_after_a_whole_answer(answer: bytes, body: bytes) -> None:
    """However its end is told, the next answer comes over the same connection, and none is mixed up with another."""
    async with serving(answer, answer, pause=0.01) as (url, connections), asking() as http:
        for _ in range(2):
            assert (await got(http, url))[1] == body
        assert len(connections) == 1


@pytest.mark.parametrize(
    "answer",
    [OK + b"Content-Length: 3\r\nConnection: close\r\n\r\nabc", b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc"],
    ids=["close", "HTTP/1.0"],
)
async def test_the_connection_is_not_kept_where_the_host_will_close_it(answer: bytes) -> None:
    """What says so is asked nothing again."""
    async with serving(answer, answer) as (url, connections), asking() as http:
        for _ in range(2):
            assert await got(http, url) == (200, b"abc")
        assert len(connections) == 2


@pytest.mark.parametrize("field", [b"", b"Transfer-Encoding: identity\r\n"], ids=["none", "identity"])
async def test_a_body_without_a_length_ends_with_the_connection(field: bytes) -> None:
    """As HTTP/1.0 did it; nothing is missing then."""
    async with serving(OK + field + b"\r\nab<pause>c", pause=0.01, stays=False) as (url, _), asking() as http:
        assert await got(http, url) == (200, b"abc")


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 4\r\n\r\nabc",
        OK + b"Content-Length : 4\r\n\r\nabc",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        OK + b"Transfer-Encoding : gzip\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
    ids=["length", "spaced length", "chunks", "spaced chunks"],
)
async def test_a_body_that_is_cut_short_is_not_taken_for_a_whole_one(answer: bytes) -> None:
    """A connection that closes before the declared end leaves an error behind, after what had come."""
    async with serving(answer, stays=False) as (url, _), asking() as http:
        with pytest.raises(aiohttp.ClientPayloadError):
            await got(http, url)


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


IMPROPER = {
    "status none": b"HTTP/1.1 OK\r\n\r\n",
    "http none": b"<html>",
    "lengths two": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "length negative": OK + b"Content-Length: -3\r\n\r\nabc",
    "length huge": OK + b"Content-Length: 99999999999999999999\r\n\r\nabc",
    "length of zeros": OK + b"Content-Length: " + b"0" * 5000 + b"3\r\n\r\nabc",
    "status 0": b"HTTP/1.1 000 X\r\n\r\n" + b"x" * 500_000,
    "length and chunks": OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "chunk none": CHUNKED + b"g\r\n",
    "chunk huge": CHUNKED + b"ffffffffffffffffff\r\n",
    "chunk late": CHUNKED + b"30d40\r\n" + b"x" * 200_000 + b"\r\nz\r\n",
    "fields many": OK + b"A: b\r\n" * (MOST_FIELDS + 1) + b"\r\n",
    "field long": OK + b"A: " + b"b" * MOST_FIELD_BYTES + b"\r\n\r\n",
    "value endless": OK + b"A: " + b"b" * 3 * MOST_BARREN_BYTES,
    "name endless": OK + b"A" * 3 * MOST_BARREN_BYTES,
    "lines blank": b"\r\n" * 2 * MOST_BARREN_BYTES,
    "trailer": CHUNKED + b"1\r\na\r\n0\r\nA: " + b"b" * 8 * MOST_BARREN_BYTES,
    "extension": CHUNKED + b"1;" + b"b" * 8 * MOST_BARREN_BYTES,
    "interim flood": b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
    "interim nine": b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + OK + b"Content-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("answer", IMPROPER.values(), ids=IMPROPER)
async def test_what_is_not_proper_http_is_refused(answer: bytes) -> None:
    """It ends with an error that says so, soon, and with the connection closed, whatever else might follow."""
    async with serving(answer, OK + b"Content-Length: 1\r\n\r\na") as (url, connections), asking() as http:
        with pytest.raises(HttpProcessingError):
            await asyncio.wait_for(got(http, url), 5)
        assert await got(http, url) == (200, b"a")
        assert len(connections) == 2


async def test_a_body_that_nobody_reads_makes_the_host_wait() -> None:
    """No more than the buffer and a read of the socket is held; all of it comes when it is asked for."""
    body = bytes(range(256)) * 40_000
    answer = OK + b"Content-Length: %d\r\n\r\n" % len(body) + body
    async with serving(answer, OK + b"Content-Length: 1\r\n\r\na") as (url, connections), asking() as http:
        async with http.ask(url) as answered:
            await asyncio.sleep(0.2)
            held = sum(map(len, answered.content._chunks))
            assert BUFFER_BYTES < held < BUFFER_BYTES + 300_000
            found = bytearray()
            while piece := await answered.content.read():
                found += piece
            assert found == body
        assert await got(http, url) == (200, b"a")
        assert len(connections) == 1


@pytest.mark.parametrize(("more", "first"), [(0, WORTH_WAKING_BYTES), (1, 10)], ids=["small", "large"])
async def test_a_small_answer_is_told_when_it_is_complete(more: int, first: int) -> None:
    """Its reader is woken once, for all of it; a larger one is told with its head, and read as it comes."""
    size = WORTH_WAKING_BYTES + more
    answer = OK + b"Content-Length: %d\r\n\r\n" % size + b"x" * 10 + b"<pause>" + b"x" * (size - 10)
    async with serving(answer, pause=0.1) as (url, _), asking() as http, http.ask(url) as answered:
        assert len(await answered.content.read()) == first


async def test_a_large_body_is_told_in_large_parts() -> None:
    """However small the pieces that it comes in, its reader is woken a few times."""
    piece = b"x" * 5000
    answer = OK + b"Content-Length: 200000\r\n\r\n" + b"<pause>".join([piece] * 40)
    async with serving(answer, pause=0.002) as (url, _), asking() as http, http.ask(url) as answered:
        parts = list[int]()
        while part := await answered.content.read():
            parts.append(len(part))
        assert sum(parts) == 200_000
        assert len(parts) <= 2 + 200_000 // WORTH_WAKING_BYTES


async def test_a_small_answer_that_breaks_off_is_not_asked_for_again_here() -> None:
    """Only a kept connection that was closed unused is worth another question at once: this is for `fetch` to judge."""
    asked = list[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK + b"Content-Length: 4\r\n\r\nabc")
        await asyncio.sleep(0.05)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()  # a reset

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, asking() as http:
        url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a")
        async with http.ask(url) as answered:
            assert await answered.content.read() == b"abc"
            with pytest.raises(aiohttp.ClientOSError):
                await answered.content.read()
    assert len(asked) == 1


async def test_silence_is_measured_from_the_last_byte() -> None:
    """Pieces that come in time may take long together; silence after any of them, or after a request, ends it."""
    slow = OK + b"Content-Length: 6\r\n\r\n<pause>a<pause>b<pause>c<pause>d<pause>ef"
    async with serving(slow, slow, OK + b"Content-Length: 2\r\n\r\na", pause=0.1) as (url, _), asking(0.25) as http:
        loop = asyncio.get_running_loop()
        for _ in range(2):
            assert await got(http, url) == (200, b"abcdef")
        began = loop.time()
        with pytest.raises(aiohttp.SocketTimeoutError):
            await got(http, url)
        assert 0.24 < loop.time() - began < 1


async def test_who_does_not_read_is_not_taken_for_a_silent_host() -> None:
    """While the host has to wait for us, its silence does not count."""
    body = b"x" * 3_000_000
    async with serving(OK + b"Content-Length: 3000000\r\n\r\n" + body) as (url, _), asking(0.1) as http:
        async with http.ask(url) as answered:
            await asyncio.sleep(0.4)
            found = bytearray()
            while piece := await answered.content.read():
                found += piece
        assert len(found) == len(body)


async def test_an_answer_left_unread_costs_its_connection_alone() -> None:
    """Who leaves before the end of a body gets nothing of it with the next answer."""
    long = OK + b"Content-Length: 100000\r\n\r\n" + b"x" * 50_000
    async with serving(long, OK + b"Content-Length: 1\r\n\r\na") as (url, connections), asking() as http:
        async with http.ask(url) as answered:
            assert answered.content_length == 100_000
        assert await got(http, url) == (200, b"a")
        assert len(connections) == 2


@pytest.mark.parametrize(
    "answer",
    [
        CHUNKED + b"1\r\na\r\n" * 500_000 + b"0\r\n\r\n",
        b"HTTP/1.1 100 \r\n\r\n" * 100_000,
        OK + b"A:b\r\n" * 500_000,
        OK + b"A:" + b"b" * 3_000_000,
    ],
    ids=["tiny chunks", "interim", "fields", "field"],
)
async def test_no_answer_holds_the_loop(answer: bytes) -> None:
    """Other tasks never wait 20 ms for it, however much of it each read of the socket brings."""

    async def work(url: URL) -> float:
        async with heart() as beating, asking() as http:
            for _ in range(3):
                with suppress(HttpProcessingError):
                    assert await got(http, url) == (200, b"a" * 500_000)
        return beating.longest

    async with serving(*[answer] * 20) as (url, _):
        assert await asyncio.to_thread(lambda: asyncio.run(work(url))) < 0.020


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 103 Hints\r\nContent-Length: 9\r\nContent-Encoding: br\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nContent-Length: 9\r\nContent-Encoding: br\r\n\r\n",
    ],
    ids=["interim", "trailer"],
)
async def test_fields_are_those_of_the_answers_own_head(answer: bytes) -> None:
    """What an interim answer or a trailer says is not said of the body."""
    async with serving(answer) as (url, _), asking() as http, http.ask(url) as answered:
        assert answered.content_length in (1, None)
        assert "content-encoding" not in answered.headers
        assert await answered.content.read() == b"a"


async def test_two_answers_to_one_question_are_improper() -> None:
    """With a second one right behind it, nobody knows which belongs to the URL."""
    one = OK + b"Content-Length: 1\r\n\r\n"
    async with serving(one + b"a" + one + b"b", one + b"c") as (url, connections), asking() as http:
        with pytest.raises(HttpProcessingError):
            await got(http, url)
        assert await got(http, url) == (200, b"c")
        assert len(connections) == 2


async def test_what_comes_unasked_costs_its_connection() -> None:
    """Bytes on a connection that waits for the next question make it one to close."""
    one = OK + b"Content-Length: 1\r\n\r\n"
    async with serving(one + b"a<pause>HTTP/1.1", one + b"b", pause=0.05) as (url, connections), asking() as http:
        assert await got(http, url) == (200, b"a")
        await asyncio.sleep(0.2)
        assert await got(http, url) == (200, b"b")
        assert len(connections) == 2
