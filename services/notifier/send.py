"""One POST of a webhook: bounded in time and bytes, and whatever the receiver does comes back as a `Result`."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import aiohttp
from yarl import URL

from imagepress import documents, signing, tracing
from imagepress.links import Links
from imagepress.outbound import agent_name, forbidden_within, guarded_session, retry_after_seconds
from imagepress.signing import SigningSecrets
from services.notifier import message
from services.notifier.decide import Result
from services.notifier.queries import DueWebhook
from services.notifier.settings import NotifierSettings

ANSWER_BYTES: Final = 16 * 1024
"""What is read of an answer, on the wire and decompressed: a receiver has said all with its status."""

ANSWER_SECONDS: Final = 1.0
"""How long more of it is waited for once the status has come: a body that drips holds no place of its host for it."""

ANSWER_KEPT: Final = 1024
"""Characters of an answer that are kept for people to read."""

# zlib's window bits: 15, the largest, plus 32 for "gzip or zlib, look at the header".
_GZIP_OR_ZLIB = 47
# A URL of these characters alone goes out exactly as given: signatures in queries may depend on every escape.
_AS_GIVEN = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*")
# The first that fits. aiohttp's own words are left out: they may quote the URL, which may hold a password.
_FAULTS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (TimeoutError, "no answer in time"),
    (aiohttp.ClientConnectorCertificateError, "the certificate is not trusted"),
    (aiohttp.ClientSSLError, "no secure connection could be made"),
    (aiohttp.ClientConnectorDNSError, "the name could not be resolved"),
    (aiohttp.ClientConnectorError, "no connection could be made"),
    (aiohttp.ClientResponseError, "the answer is not proper HTTP"),
    (aiohttp.InvalidURL, "the URL is malformed"),
    (ValueError, "the URL is malformed"),  # yarl's, and those of names that are none
    (Exception, "the connection broke off"),
)


@dataclass(frozen=True)
class Sender:
    """Sends webhooks over `session`, which must be a guarded one (`imagepress.outbound`)."""

    session: aiohttp.ClientSession
    secrets: SigningSecrets
    links: Links
    seconds: float
    """For a whole attempt: connecting, the answer and what is read of its body."""

    async def send(self, due: DueWebhook) -> Result:
        """POST a webhook once. Raises nothing for what a receiver does, and follows it nowhere."""
        now = datetime.now(UTC)
        body = message.body(due.request, self.links)
        identity = documents.webhook_id(due.request_id, due.run)
        headers = signing.headers(identity, body, secrets=self.secrets.of(due.client), now=now)
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout_at(began + self.seconds):
                response = await self.session.post(
                    URL(due.url, encoded=_AS_GIVEN.fullmatch(due.url) is not None),
                    data=body,
                    headers={"Content-Type": "application/json", **headers, **tracing.carrier()},
                    allow_redirects=False,
                )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _failed(error, _milliseconds(clock() - began))
        answered = clock()
        deadline = min(answered + ANSWER_SECONDS, began + self.seconds)
        return Result(
            status_code=response.status,
            latency_ms=_milliseconds(answered - began),
            answer=await _start_of(response, deadline),
            retry_after=retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC)),
        )


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _failed(error: Exception, latency_ms: int) -> Result:
    if forbidden := forbidden_within(error):
        return Result(None, latency_ms, error=f"the address is refused: {forbidden}", forbidden=True)
    sentence = next(sentence for kind, sentence in _FAULTS if isinstance(error, kind))
    return Result(None, latency_ms, error=sentence)


async def _start_of(response: aiohttp.ClientResponse, deadline: float) -> str:
    """Return the start of an answer as text, as much of it as comes before `deadline`.

    The status has come, and decides; that a body is huge, slow, broken or a bomb changes nothing about it.
    """
    wire = bytearray()
    try:
        with suppress(aiohttp.ClientError, OSError):  # TimeoutError is an OSError
            async with asyncio.timeout_at(deadline):
                while len(wire) < ANSWER_BYTES and (piece := await response.content.read(ANSWER_BYTES - len(wire))):
                    wire += piece
    finally:
        response.release()  # keeps the connection if the body was read to its end, closes it otherwise
    return _plain(bytes(wire), response.headers.get("Content-Encoding", "")).decode(errors="replace")[:ANSWER_KEPT]


def _plain(wire: bytes, encoding: str) -> bytes:
    """Undo gzip and deflate, which were not asked for, of at most `ANSWER_BYTES` bytes; nothing of what is broken."""
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return wire
    try:
        return zlib.decompressobj(_GZIP_OR_ZLIB).decompress(wire, ANSWER_BYTES)
    except zlib.error:
        return b""


@asynccontextmanager
async def open_sender(settings: NotifierSettings) -> AsyncIterator[Sender]:
    """Open a sender with a session of its own, closed at the end."""
    async with guarded_session(
        settings.address_policy,
        user_agent=agent_name(settings.user_agent_contact),
        limit=settings.webhook_concurrency,
        connect_seconds=settings.webhook_connect_seconds,
        idle_seconds=settings.webhook_timeout_seconds,
    ) as session:
        yield Sender(session, settings.webhook_secrets, settings.links, settings.webhook_timeout_seconds)
