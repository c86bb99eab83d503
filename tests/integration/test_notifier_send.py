"""One POST to receivers that behave badly: bounded in time and bytes, never followed, never an exception."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from imagepress.names import ThreadResolver
from imagepress.settings import load
from services.notifier.decide import Result
from services.notifier.queries import DueWebhook
from services.notifier.send import ANSWER_KEPT, ANSWER_SECONDS, Sender, open_sender
from services.notifier.settings import NotifierSettings
from tests.support.origin import (
    Answer,
    body,
    dripping,
    endless,
    gzip_bomb,
    gzipped,
    lying,
    raw,
    redirect,
    reset,
    silent,
    status,
)
from tests.support.receiver import serve_receiver

TIMEOUT = 10.0
"""For a whole attempt: more than any of these takes, however busy the machine is."""
SHORT = 0.4


@asynccontextmanager
async def sending(**values: Any) -> AsyncIterator[Sender]:
    """Yield a sender whose attempts end after `TIMEOUT`; loopback is allowed unless said otherwise."""
    given: dict[str, Any] = {
        "mongo_connection_string": "mongodb://localhost",
        "database_name": "none",
        "collection_name": "none",
        "allowed_networks": "127.0.0.1/32",
        "webhook_timeout_seconds": TIMEOUT,
        "webhook_connect_seconds": TIMEOUT,
        **values,
    }
    async with open_sender(load(NotifierSettings, _env_file=None, **given)) as sender:
        yield sender


def due(url: str) -> DueWebhook:
    request = {"_id": "r1", "status": "completed", "ended_at": datetime(2026, 1, 1, tzinfo=UTC), "images": {}}
    return DueWebhook("r1", 1, "token", url, "127.0.0.1", None, 0, 0, 0.0, request)


async def outcome_of(answer: Answer, seconds: float = TIMEOUT) -> Result:
    """Send one webhook to a receiver that answers so, and see that it did not take longer than it may."""
    clock = asyncio.get_running_loop().time
    short = {"webhook_timeout_seconds": seconds, "webhook_connect_seconds": seconds}
    async with serve_receiver(answer) as receiver, sending(**short) as sender:
        began = clock()
        result = await sender.send(due(receiver.url("/")))
        assert clock() - began < min(seconds + 5, TIMEOUT)
        assert receiver.connections == len(receiver.received) == 1
    return result


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reset(), "the connection broke off"),
        (raw(b""), "the connection broke off"),
        (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "the answer is not proper HTTP"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"), "the answer is not proper HTTP"),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"), "the answer is not proper HTTP"),
    ],
)
async def test_without_a_proper_answer_there_is_an_error(answer: Answer, error: str) -> None:
    """A reset, an empty or an impossible answer come back as a sentence."""
    result = await outcome_of(answer)
    assert (result.status_code, result.error, result.received, result.forbidden) == (None, error, False, False)


async def test_silence_ends_with_the_deadline() -> None:
    """A receiver that never answers holds its place until the deadline, and no longer."""
    result = await outcome_of(silent(), SHORT)
    assert (result.status_code, result.error, result.host_is_ailing) == (None, "no answer in time", True)
    assert result.latency_ms >= SHORT * 1000


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (body(b"thanks"), "thanks"),
        (gzipped(b"thanks"), "thanks"),
        (body(b"x" * 10_000_000), "x" * ANSWER_KEPT),
        (endless(b"y" * 1000), "y" * ANSWER_KEPT),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1_000_000), "x" * ANSWER_KEPT),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 10_000_000), ""),
        (gzip_bomb(100_000_000), "\0" * ANSWER_KEPT),
        (body(b"not gzip", headers={"Content-Encoding": "gzip"}), ""),
        (body(b"\xff\xfe\x00", headers={"Content-Encoding": "br"}), "\ufffd\ufffd\0"),
        (lying(b"half", declared=1000), "half"),
        (dripping(0.05), "x"),
    ],
)
async def test_the_status_decides_whatever_the_body_is(answer: Answer, text: str) -> None:
    """A body that is huge, endless, a bomb, broken, cut off or dripping is cut; 200 has been said before it."""
    result = await outcome_of(answer)
    assert (result.status_code, result.received, result.error) == (200, True, None)
    assert result.answer.startswith(text)
    assert len(result.answer) <= ANSWER_KEPT


def _flood(listener: socket.socket, piece: bytes) -> None:
    """Answer one request in chunks, with `piece` again and again, until the client hangs up."""
    connection, _ = listener.accept()
    with connection, suppress(ConnectionError):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(piece)


@pytest.mark.parametrize("piece", [b"1\r\nx\r\n", b"1\r\nx\r\n" * 10_000, b"1;" + b"extension" * 10_000])
async def test_tiny_chunks_without_end_keep_nobody_waiting(piece: bytes) -> None:
    """However fast they come, the event loop is busy with them for no longer than the second that a body gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        flooding = threading.Thread(target=_flood, args=(listener, piece))
        flooding.start()
        async with sending(webhook_timeout_seconds=30, webhook_connect_seconds=5) as sender:
            used = time.thread_time()
            result = await sender.send(due(f"http://127.0.0.1:{listener.getsockname()[1]}/"))
            assert time.thread_time() - used < 1.5  # without an end to it, 30
        await asyncio.to_thread(flooding.join)
    assert (result.status_code, result.answer.strip("x")) == (200, "")


async def test_a_body_that_drips_holds_its_place_no_longer_than_a_second_or_so() -> None:
    """The status has come, and decides: the rest is for people to read, and holds no place, whatever the deadline."""
    clock = asyncio.get_running_loop().time
    async with (
        serve_receiver(dripping(0.05)) as receiver,
        sending(webhook_timeout_seconds=30, webhook_connect_seconds=5) as sender,
    ):
        began = clock()
        result = await sender.send(due(receiver.url("/")))
        assert ANSWER_SECONDS <= clock() - began < 10
    assert (result.received, result.answer[:3]) == (True, "xxx")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(code: int) -> None:
    """A receiver that sends us to another listener, on an address that is allowed even, sends us nowhere."""
    async with serve_receiver() as elsewhere:
        result = await outcome_of(redirect(elsewhere.url("/"), code))
        assert (result.status_code, result.received) == (code, False)
        assert elsewhere.connections == 0


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"Retry-After": "120"}, 120, 120),
        ({"Retry-After": format_datetime(datetime.now(UTC) + timedelta(hours=6), usegmt=True)}, 18_000, 21_600),
    ],
)
async def test_both_forms_of_retry_after_are_read(headers: Mapping[str, str], least: float, most: float) -> None:
    """Seconds and dates mean the same; the attempt says how long the receiver asked to wait."""
    result = await outcome_of(status(429, headers))
    assert result.status_code == 429
    assert result.retry_after is not None
    assert least <= result.retry_after <= most


async def test_connections_are_kept_for_the_next_webhook() -> None:
    """An answer that was read to its end leaves its connection open for others; one that was cut does not."""
    async with serve_receiver(body(b"ok")) as receiver, sending() as sender:
        for _ in range(3):
            await sender.send(due(receiver.url("/")))
        assert receiver.connections == 1
        receiver.answer = body(b"x" * 1_000_000)
        for _ in range(2):
            await sender.send(due(receiver.url("/")))
        assert receiver.connections == 2


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:1/", "no connection could be made"),
        ("http://no-such-name.invalid/", "the name could not be resolved"),
        ("http://user:hunter2@127.0.0.1:1/", "no connection could be made"),
        ("http://[::1/", "the URL is malformed"),
        ("http://exa mple/", "the name could not be resolved"),
        ("http://127.0.0.1:99999/", "the URL is malformed"),
        ("http://" + "a" * 70 + ".test/", "the URL is malformed"),
    ],
)
async def test_what_cannot_be_reached_is_told_without_the_url(url: str, error: str) -> None:
    """The sentence never repeats the URL, which may hold a password; nor does the webhook's own text."""
    async with sending(allowed_ports="1-65535") as sender:
        result = await sender.send(due(url))
    assert (result.status_code, result.error) == (None, error)
    assert "hunter2" not in repr(due(url))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "127.1", "[::ffff:127.0.0.1]"])
async def test_a_forbidden_address_is_refused_in_every_spelling(host: str) -> None:
    """Nothing reaches the listener, and the result says that it was us who refused."""
    async with serve_receiver() as receiver, sending(allowed_networks="") as sender:
        result = await sender.send(due(receiver.url("/", host)))
        assert (result.forbidden, result.status_code, receiver.connections) == (True, None, 0)


async def test_userinfo_is_sent_as_basic_authentication() -> None:
    """A user and password in the URL go into the header, as every HTTP client does it."""
    async with serve_receiver() as receiver, sending() as sender:
        result = await sender.send(due(receiver.url("/").replace("127.", "user:pass@127.")))
        assert result.received
        assert receiver.received[0].headers["authorization"] == "Basic dXNlcjpwYXNz"


async def test_names_are_resolved_to_every_address() -> None:
    """The resolver's answer has numeric addresses with the port that was asked for, and an unknown name is an error."""
    resolver = ThreadResolver()
    found = await resolver.resolve("localhost", 8080)
    assert ("127.0.0.1", 8080) in [(one["host"], one["port"]) for one in found]
    with pytest.raises(socket.gaierror):
        await resolver.resolve("no-such-name.invalid", 80)
    await resolver.close()
