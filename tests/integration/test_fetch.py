"""Fetching from a real origin: every way to fail has its code, what passes is retried, and everything ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagepress.addresses import AddressPolicy, parse_networks, parse_ports
from imagepress.errors import ImageError
from services.watcher.budget import Budget
from services.watcher.fetch import Fetcher, FetchLimits, open_fetcher
from tests.support.addresses import SPELLINGS
from tests.support.certificates import made_certificates, serving_as
from tests.support.connections import connections_tried
from tests.support.listening import listening
from tests.support.nameserver import serve_names
from tests.support.origin import (
    Answer,
    Origin,
    body,
    dripping,
    endless,
    gzip_bomb,
    gzipped,
    held,
    in_turn,
    lying,
    raw,
    redirect,
    reset,
    serve_origin,
    silent,
    status,
)

PORTS = parse_ports("1024-65535")
LOOPBACK = AddressPolicy(parse_networks("127.0.0.0/8, ::1/128"), PORTS)
IMAGE = bytes(range(256)) * 40
LIMIT = 1024 * 1024


@asynccontextmanager
async def fetcher(
    policy: AddressPolicy = LOOPBACK, resolver: AbstractResolver | None = None, **limits: Any
) -> AsyncIterator[Fetcher]:
    quick = {"max_image_bytes": LIMIT, "first_delay_seconds": 0.01, "total_seconds": 5.0, "tries": 3}
    async with open_fetcher(
        policy, FetchLimits(**(quick | limits)), "imagepress/test (+mailto:me)", resolver
    ) as opened:
        yield opened


async def fetched(opened: Fetcher, url: str) -> bytes:
    async with Budget(4 * LIMIT).hold() as holding:
        data = (await opened.fetch(url, holding)).data
        assert holding.units >= len(data)
        return data


async def code_of(opened: Fetcher, url: str) -> str:
    """Return the code that the image at `url` fails with; a failure must hold no memory."""
    async with Budget(4 * LIMIT).hold() as holding:
        with pytest.raises(ImageError) as caught:
            await opened.fetch(url, holding)
        assert holding.units == 0
    assert caught.value.message
    return caught.value.code


async def test_image_is_fetched_by_a_named_agent() -> None:
    """The body arrives as it is, and the origin reads who asked."""
    async with serve_origin({"/a.jpg": body(IMAGE)}) as origin, fetcher() as opened:
        assert await fetched(opened, origin.url("/a.jpg")) == IMAGE
        assert origin.requests[0].headers["user-agent"] == "imagepress/test (+mailto:me)"


async def test_agent_may_have_letters_of_any_language() -> None:
    """An operator's contact goes out as UTF-8."""
    async with serve_origin({"/": body(IMAGE)}) as origin:
        async with open_fetcher(LOOPBACK, FetchLimits(), "imagepress (+Müller)") as opened:
            assert await fetched(opened, origin.url("/")) == IMAGE
        assert origin.requests[0].headers["user-agent"].encode("latin-1").decode() == "imagepress (+Müller)"


@pytest.mark.parametrize("query", ["?sig=a%2Bb%2fc%3D%20~%7e+", "?u=http://x/,y;z&a=[1]"])
async def test_url_goes_out_as_it_was_given(query: str) -> None:
    """No escape is rewritten: signatures of links depend on each."""
    async with serve_origin({f"/a{query}": body(IMAGE)}) as origin, fetcher() as opened:
        assert await fetched(opened, origin.url(f"/a{query}")) == IMAGE


async def test_url_with_other_characters_is_escaped() -> None:
    """Spaces and letters outside ASCII are escaped as a browser does."""
    async with serve_origin({"/gro%C3%9F%20a.jpg": body(IMAGE)}) as origin, fetcher() as opened:
        assert await fetched(opened, origin.url("/groß a.jpg")) == IMAGE


@pytest.mark.parametrize(
    ("answer", "code", "asked"),
    [
        (status(404), "http_404", 1),
        (status(403), "http_403", 1),
        (status(410), "http_410", 1),
        (status(304), "http_304", 1),
        (status(302), "http_302", 1),
        (status(599), "http_599", 1),
        (status(408), "http_408", 3),
        (status(425), "http_425", 3),
        (status(429), "http_429", 3),
        (status(500), "http_500", 3),
        (status(502), "http_502", 3),
        (status(503), "http_503", 3),
        (status(504), "http_504", 3),
        (lying(b"short", declared=1000), "unreachable", 3),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort"), "unreachable", 3),
        (raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "unreachable", 1),
        (body(bytes(LIMIT + 1)), "too_many_bytes", 1),
        (lying(b"", declared=10**12), "too_many_bytes", 1),
        (endless(), "too_many_bytes", 1),
        (gzip_bomb(64 * LIMIT), "too_many_bytes", 1),
        (body(b"no gzip", headers={"Content-Encoding": "gzip"}), "corrupt", 1),
        (redirect("ftp://127.0.0.1/"), "forbidden_address", 1),
        (redirect("file:///etc/passwd"), "forbidden_address", 1),
        (redirect("http://[::1"), "unreachable", 1),
        (redirect("http://a..b/"), "unreachable", 1),
    ],
)
async def test_failure_has_its_code_and_is_tried_as_often_as_it_may_pass(answer: Answer, code: str, asked: int) -> None:
    """A fault that may pass is tried three times, any other once, and the client reads what it was."""
    async with serve_origin({"/": answer}) as origin, fetcher() as opened:
        assert await code_of(opened, origin.url("/")) == code
        assert origin.count("/") == asked


@pytest.mark.parametrize("answer", [reset(), raw(b"")], ids=["reset", "closed"])
async def test_connection_that_breaks_off_is_tried_again(answer: Answer) -> None:
    """A connection cut before any answer is unreachable in the end (aiohttp itself repeats each attempt once)."""
    async with serve_origin({"/": answer}) as origin, fetcher() as opened:
        assert await code_of(opened, origin.url("/")) == "unreachable"
        assert 3 <= origin.count("/") <= 6


async def test_refused_connection_and_unknown_name_are_unreachable() -> None:
    """Nobody listening, and a name that does not exist, read alike to the client."""
    async with serve_origin() as origin:
        port = origin.port
    async with fetcher() as opened:
        assert await code_of(opened, f"http://127.0.0.1:{port}/") == "unreachable"
        assert await code_of(opened, "http://no-such-host.invalid:8080/") == "unreachable"


@pytest.mark.parametrize("passing", [status(503), status(429), lying(b"x", 9), raw(b"")])
async def test_fault_that_passes_costs_nothing_but_time(passing: Answer) -> None:
    """After one or two failed attempts the image arrives, counted once."""
    async with serve_origin({"/": in_turn(passing, passing, body(IMAGE))}) as origin, fetcher() as opened:
        async with Budget(LIMIT).hold() as holding:
            assert (await opened.fetch(origin.url("/"), holding)).data == IMAGE
            assert holding.units == len(IMAGE)
        assert origin.count("/") == 3


async def test_more_bytes_than_declared_spoil_nothing_but_that_answer() -> None:
    """Bytes beyond the declared length make an answer improper, and never become part of the next one."""
    answers = {"/": lying(IMAGE, declared=100), "/next": body(IMAGE)}
    async with serve_origin(answers) as origin, fetcher(per_host=1) as opened:
        assert await code_of(opened, origin.url("/")) == "unreachable"
        assert await fetched(opened, origin.url("/next")) == IMAGE


async def test_gzipped_image_is_decoded() -> None:
    """An origin that compresses without being asked is understood."""
    async with serve_origin({"/": gzipped(IMAGE)}) as origin, fetcher() as opened:
        assert await fetched(opened, origin.url("/")) == IMAGE


@pytest.mark.parametrize("answer", [silent(), dripping(0.02)], ids=["silent", "dripping"])
async def test_deadline_covers_the_whole_body(answer: Answer) -> None:
    """An origin that is silent, or sends a byte now and then, is left at the deadline, also in a second attempt."""
    for slow in (answer, in_turn(status(503), answer)):
        async with serve_origin({"/": slow}) as origin, fetcher(total_seconds=0.3) as opened:
            started = asyncio.get_running_loop().time()
            assert await code_of(opened, origin.url("/")) == "timeout"
            assert asyncio.get_running_loop().time() - started < 2


async def test_silence_is_tried_again() -> None:
    """An origin that says nothing for `idle_seconds` is asked again, and fails as a timeout in the end."""
    async with serve_origin({"/": silent(), "/once": in_turn(silent(), body(IMAGE))}) as origin:
        async with fetcher(idle_seconds=0.05) as opened:
            assert await code_of(opened, origin.url("/")) == "timeout"
            assert await fetched(opened, origin.url("/once")) == IMAGE
        assert (origin.count("/"), origin.count("/once")) == (3, 2)


async def test_retry_after_pauses_the_host_and_no_other() -> None:
    """A host that asks for a second's rest gets it from every fetch; other hosts are fetched meanwhile."""
    answers = {"/": in_turn(status(429, {"Retry-After": "1"}), body(IMAGE)), "/b": body(IMAGE)}
    async with serve_origin(answers) as origin, fetcher() as opened:
        loop = asyncio.get_running_loop()
        started = loop.time()
        paused = asyncio.create_task(fetched(opened, origin.url("/")))
        await origin.reached(lambda seen: bool(seen.requests))
        assert await fetched(opened, origin.url("/b", "localhost")) == IMAGE
        assert loop.time() - started < 0.9
        assert await fetched(opened, origin.url("/b")) == IMAGE
        assert loop.time() - started >= 0.99
        assert await paused == IMAGE


async def test_pause_beyond_the_deadline_fails_at_once() -> None:
    """Where the host asks for more time than there is, the image fails with the host's own answer, without waiting."""
    async with serve_origin({"/": status(503, {"Retry-After": "3600"})}) as origin, fetcher() as opened:
        started = asyncio.get_running_loop().time()
        assert await code_of(opened, origin.url("/")) == "http_503"
        assert asyncio.get_running_loop().time() - started < 1
        assert origin.count("/") == 1


async def test_host_is_asked_by_few_at_a_time_over_kept_connections() -> None:
    """Thirty images of one host use at most `per_host` connections, again and again."""
    release = asyncio.Event()
    answers = {f"/{n}": held(release, body(IMAGE)) for n in range(30)}
    async with serve_origin(answers) as origin, fetcher(per_host=4) as opened, asyncio.TaskGroup() as group:
        for path in answers:
            group.create_task(fetched(opened, origin.url(path)))
        await origin.reached(lambda seen: seen.open_now == 4)
        release.set()
    assert (len(origin.requests), origin.most_open, origin.connections) == (30, 4, 4)


async def test_five_redirects_are_followed_and_no_sixth() -> None:
    """A chain of five ends at the image; a chain of six is given up before its end."""
    answers: dict[str, Answer] = {f"/{n}": redirect(f"/{n - 1}", 307) for n in range(1, 7)} | {"/0": body(IMAGE)}
    async with serve_origin(answers) as origin, fetcher() as opened:
        assert await fetched(opened, origin.url("/5")) == IMAGE
        asked = origin.count("/0")
        assert await code_of(opened, origin.url("/6")) == "http_302"
        assert origin.count("/0") == asked


@pytest.mark.parametrize(
    "host",
    ["127.0.0.2", "2130706434", "0x7f.0.0.2", "127.2", "[::ffff:127.0.0.2]", "①②⑦.0.0.2", "127.0.0.1@127.0.0.2"],
)
@pytest.mark.parametrize("direct", [True, False])
async def test_forbidden_address_is_not_connected_to(host: str, direct: bool) -> None:
    """Directly or by a redirect, in whatever spelling: the code says so, and the listener there accepts nothing."""
    one_address = AddressPolicy(parse_networks("127.0.0.1/32"), PORTS)
    async with serve_origin(host="127.0.0.2") as inner, fetcher(one_address) as opened:
        target = inner.url("/", host)
        async with serve_origin({"/": redirect(target.encode().decode("latin-1"))}) as origin:
            assert await code_of(opened, target if direct else origin.url("/")) == "forbidden_address"
        assert inner.connections == 0


@pytest.mark.parametrize("host", SPELLINGS)
async def test_no_spelling_of_a_local_address_is_fetched_from(host: str) -> None:
    """However loopback is spelled: the code says that it is forbidden, and no connection is even tried."""
    async with serve_origin() as origin, fetcher(AddressPolicy((), PORTS)) as opened:
        with connections_tried() as tried:
            assert await code_of(opened, f"http://{host}:{origin.port}/") == "forbidden_address"
        assert (origin.connections, tried) == (0, [])


@pytest.mark.parametrize(
    "target",
    [
        "http://10.0.0.1:8080/", "http://172.16.0.1:8080/", "http://192.168.0.1:8080/", "http://169.254.169.254:8080/",
        "http://100.64.0.1:8080/", "http://0.0.0.0:8080/", "http://224.0.0.1:8080/", "http://[fd00:ec2::254]:8080/",
        "http://[fe80::1]:8080/", "http://[64:ff9b::7f00:1]:8080/", "http://[2002:7f00:1::]:8080/", "http://1.1.1.1/",
        "http://168.63.129.16:8080/", "http://198.18.0.1:8080/", "http://240.0.0.1:8080/", "http://[::10.0.0.1]:8080/",
        "http://[fec0::1]:8080/", "http://[ff02::1]:8080/", "http://[fe80::1%25lo]:8080/", "http://012.0.0.1:8080/",
        "http://0xa000001:8080/", "http://167772161:8080/", "http://10.1:8080/", "http://①⓪.0.0.1:8080/",
        "http://example.com@10.0.0.1:8080/", "http://example.com:8080@10.0.0.1:8080/", "//10.0.0.1:8080/",
        "http://1.1.1.1:22/", "http://1.1.1.1:25/", "https://1.1.1.1:1023/", "http://10.0.0.1.:8080/",
    ],
)  # fmt: skip
async def test_redirect_to_any_forbidden_range_or_port_is_refused(target: str) -> None:
    """A redirect is no way around the policy, whichever range or port it names: only the first is connected to."""
    async with serve_origin({"/": redirect(target.encode().decode("latin-1"))}) as origin, fetcher() as opened:
        with connections_tried() as tried:
            assert await code_of(opened, origin.url("/")) == "forbidden_address"
        assert tried == [("127.0.0.1", origin.port)]


async def test_name_that_rebinds_between_redirects_connects_to_nothing() -> None:
    """A name that leads to an allowed address first and to a forbidden one after its own redirect is refused there."""
    one_address = AddressPolicy(parse_networks("127.0.0.1/32"), PORTS)
    async with (
        serve_names({"rebind.test": [["127.0.0.1"], ["127.0.0.2"]]}) as names,
        serve_origin(host="127.0.0.2") as inner,
        serve_origin({"/": redirect(inner.url("/", "rebind.test"))}) as origin,
        fetcher(one_address, names.resolver()) as opened,
    ):
        assert await code_of(opened, origin.url("/", "rebind.test")) == "forbidden_address"
        assert (origin.connections, inner.connections) == (1, 0)
        assert names.asked == ["rebind.test"] * 2


async def test_interim_answers_are_passed_over() -> None:
    """Early hints before the image (RFC 8297) are not taken for it, and the connection is kept."""
    length = len(IMAGE)
    hinting = raw(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (length, IMAGE)
    )
    async with serve_origin({"/": hinting}) as origin, fetcher() as opened:
        assert await fetched(opened, origin.url("/")) == IMAGE


async def test_interim_answers_without_end_are_no_http() -> None:
    """A host that sends nothing but early hints is given up at once."""
    flood = raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000)
    async with serve_origin({"/": flood}) as origin, fetcher() as opened:
        assert await code_of(opened, origin.url("/")) == "unreachable"
        assert origin.count("/") == 1


async def test_answer_that_nobody_asked_for_is_not_the_next_images() -> None:
    """What a host sends over a connection that waits for the next request costs that connection, and nothing else."""
    later = asyncio.Event()
    sent = asyncio.Event()

    async def talking(writer: asyncio.StreamWriter) -> bool:
        await body(IMAGE)(writer)
        await writer.drain()
        await later.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nZ")
        await writer.drain()
        sent.set()
        return True

    async with serve_origin({"/a": talking, "/b": body(IMAGE)}) as origin, fetcher(per_host=1) as opened:
        assert await fetched(opened, origin.url("/a")) == IMAGE
        later.set()
        await sent.wait()
        for host in ("localhost", "127.0.0.1"):  # by the end of the first, what was sent has arrived
            assert await fetched(opened, origin.url("/b", host)) == IMAGE


async def test_upgrade_that_nobody_asked_for_is_no_image() -> None:
    """An origin that switches to another protocol is refused by its status."""
    switching = raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + IMAGE)
    async with serve_origin({"/": switching}) as origin, fetcher() as opened:
        assert await code_of(opened, origin.url("/")) == "http_101"


async def test_kept_connection_that_the_host_has_closed_is_opened_anew() -> None:
    """A connection that went away between two images costs neither of them an attempt."""

    async def closing(writer: asyncio.StreamWriter) -> bool:
        await body(IMAGE)(writer)
        return False  # without having said so

    async with serve_origin({"/a": closing, "/b": body(IMAGE)}) as origin, fetcher(tries=1) as opened:
        for _ in range(20):
            assert await fetched(opened, origin.url("/a")) == IMAGE
            assert await fetched(opened, origin.url("/b")) == IMAGE


@pytest.mark.parametrize("mark", ["\r\n", "\n", " ", "\0", "\u2028"])
async def test_url_cannot_add_to_the_request(mark: str) -> None:
    """Whatever stands in a path or a redirect, the origin reads one request of one line, with our headers only."""
    path = f"/a{mark}HTTP/1.1{mark}X-Planted:{mark}1"
    escaped = path.replace("\r", "%0D").replace("\n", "%0A").replace("\0", "%00")  # a header cannot hold these
    answers = {"/": redirect(escaped.encode().decode("latin-1"))}
    async with serve_origin(answers) as origin, fetcher() as opened:
        for url in (origin.url(path), origin.url("/")):
            assert await code_of(opened, url) == "http_404"
        for seen in origin.requests:
            assert set(seen.headers) == {"host", "user-agent", "accept", "accept-encoding"}
        assert len(origin.requests) == 3


async def said_over_tls(url: str) -> str:
    """Return what a client reads of an image that no secure connection leads to."""
    async with fetcher() as opened, Budget(LIMIT).hold() as holding:
        with pytest.raises(ImageError) as caught:
            await opened.fetch(url, holding)
    assert caught.value.code == "unreachable"
    return caught.value.message


@pytest.mark.parametrize("kind", ["unknown", "other-name"])
async def test_nothing_is_asked_of_a_host_without_a_trusted_certificate(tmp_path: Path, kind: str) -> None:
    """A certificate of nobody known, or for another name: unreachable at once, and the client reads why."""
    certificate = made_certificates(tmp_path) / f"{kind}.pem"
    async with serve_origin({"/": body(IMAGE)}, tls=serving_as(certificate)) as origin:
        assert await said_over_tls(origin.url("/")) == "127.0.0.1's certificate is not trusted"
    assert origin.requests == []


async def test_host_that_does_not_speak_tls_is_unreachable() -> None:
    """A plain HTTP server behind https:// has no secure connection, which is what the client reads."""

    async def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")(writer)

    async with listening(plain, "127.0.0.1") as port:
        said = await said_over_tls(f"https://127.0.0.1:{port}/")
    assert said == "no secure connection to 127.0.0.1 could be made"


async def test_password_in_a_url_is_used_and_never_told() -> None:
    """A user and password in the URL reach the origin as an Authorization header, and no error message."""
    async with serve_origin({"/a": body(IMAGE)}) as origin, fetcher() as opened:
        url = origin.url("/a").replace("://", "://user:hunter2@")
        assert await fetched(opened, url) == IMAGE
        assert origin.requests[0].headers["authorization"].startswith("Basic ")
        for broken in (
            url + "b",
            url.replace("user:", "us%3Aer:"),
            url.replace("127.0.0.1", "127.1"),
            "http://user:hunter2@/",
            "http://u:hunter2@h:x/",
        ):
            with pytest.raises(ImageError) as caught:
                await fetched(opened, broken)
            assert "hunter2" not in caught.value.message


async def test_waiting_for_memory_does_not_use_up_the_deadline() -> None:
    """A fetch that waits for room in the process's own budget goes on when there is some, however late."""
    budget = Budget(1000)
    async with serve_origin({"/": body(IMAGE)}) as origin, fetcher(total_seconds=0.2) as opened:
        oldest = budget.hold()
        assert oldest.try_grow(1000)
        asyncio.get_running_loop().call_later(0.4, oldest.give_back)
        async with budget.hold() as holding:
            assert (await opened.fetch(origin.url("/"), holding)).data == IMAGE


@pytest.mark.parametrize("pieces", [14, 18, 24, 30])
async def test_waiting_for_memory_is_not_the_hosts_silence(pieces: int) -> None:
    """A body that has arrived waits for room longer than a host may be silent, and is complete."""
    budget = Budget(10 * LIMIT)
    large = IMAGE * pieces
    async with serve_origin({"/": body(large)}) as origin, fetcher(idle_seconds=0.1, per_host=1) as opened:
        for _ in range(20):  # until the kernel gives the connection a window that takes it in one piece
            assert await fetched(opened, origin.url("/")) == large
        oldest = budget.hold()
        assert oldest.try_grow(budget.total - 1)
        asyncio.get_running_loop().call_later(0.5, oldest.give_back)
        async with budget.hold() as holding:
            assert (await opened.fetch(origin.url("/"), holding)).data == large
        assert origin.count("/") == 21


def _asked(times: int) -> Callable[[Origin], bool]:
    return lambda origin: len(origin.requests) == times


@pytest.mark.parametrize("moment", ["connecting", "head", "body"])
async def test_cancelled_fetch_leaves_no_connection_behind(moment: str) -> None:
    """Wherever it is cancelled, one connection a host is enough for the next image."""
    half = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    async def stopping(writer: asyncio.StreamWriter) -> bool:
        await half(writer)
        return await silent()(writer)

    answers = {"/": silent() if moment == "head" else stopping, "/b": body(IMAGE)}
    async with serve_origin(answers) as origin, fetcher(connections=1) as opened:
        for asked in range(5):
            task = asyncio.create_task(fetched(opened, origin.url("/")))
            if moment != "connecting":
                await origin.reached(_asked(asked + 1))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await fetched(opened, origin.url("/b")) == IMAGE


async def test_images_larger_than_the_whole_budget_all_arrive() -> None:
    """Twenty images, each larger than the budget, some broken off half-way, neither deadlock nor time out."""
    budget = Budget(1000)
    broken_once = {f"/{n}": in_turn(lying(IMAGE[:5000], len(IMAGE)), body(IMAGE)) for n in range(20)}

    async def one(opened: Fetcher, url: str) -> int:
        async with budget.hold() as holding:
            return len((await opened.fetch(url, holding)).data)

    async with serve_origin(broken_once) as origin, fetcher(per_host=2) as opened, asyncio.timeout(5):
        sizes = await asyncio.gather(*(one(opened, origin.url(path)) for path in broken_once))
    assert sizes == [len(IMAGE)] * 20
    assert budget.in_use == 0


async def test_cancelled_fetch_leaves_its_slot_and_its_memory() -> None:
    """After a cancellation the host's slot is free for the next image."""
    async with serve_origin({"/": silent(), "/b": body(IMAGE)}) as origin, fetcher(per_host=1) as opened:
        task = asyncio.create_task(fetched(opened, origin.url("/")))
        await origin.reached(lambda seen: bool(seen.requests))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await fetched(opened, origin.url("/b")) == IMAGE


NOWHERE = AddressPolicy((), parse_ports("1"))


class NoNames(AbstractResolver):
    """A resolver that knows no name at all: the network's own would be asked for whatever the test makes up."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Know nothing."""
        raise socket.gaierror(socket.EAI_NONAME, f"{host}:{port} ({family}) is not known")

    async def close(self) -> None:
        """Hold nothing."""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(max_size=40)
    | st.text(max_size=30).map("http://{}:1024/".format)
    | st.text().map("http://127.0.0.1/{}".format)
)
async def test_no_url_raises_anything_but_an_image_error(url: str) -> None:
    """Whatever stands in the CSV, the image fails with a code and the batch goes on."""
    async with fetcher(NOWHERE, NoNames(), tries=1) as opened:
        assert await code_of(opened, url) in ("unreachable", "forbidden_address")
