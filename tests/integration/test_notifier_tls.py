"""Receivers over TLS: nothing is sent before the certificate is one that is trusted, and for that name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from imagepress.documents import WebhookState
from imagepress.mongo import Database
from tests.support.certificates import made_certificates, serving_as
from tests.support.notifying import attempts_of, ended, until_state, until_tries
from tests.support.origin import raw, status
from tests.support.processes import FAST, services
from tests.support.receiver import Receiver


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates with their keys."""
    return made_certificates(tmp_path_factory.mktemp("certificates"))


@asynccontextmanager
async def _listening(receiver: Receiver, certificate: Path | None) -> AsyncIterator[None]:
    """Receive over TLS, or without a certificate answer to a TLS greeting as plain HTTP servers do."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):  # clients hang up as they like
            if certificate:
                await receiver.serve(reader, writer)
            else:
                await raw(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")(writer)
        writer.close()

    context = serving_as(certificate) if certificate else None
    server = await asyncio.start_server(connected, "127.0.0.1", receiver.port, ssl=context)
    receiver.port = server.sockets[0].getsockname()[1]
    async with server:
        yield


@pytest.mark.parametrize(
    ("faulty", "error"),
    [
        ("unknown.pem", "the certificate is not trusted"),
        ("other-name.pem", "the certificate is not trusted"),
        (None, "no secure connection could be made"),
    ],
)
async def test_nothing_is_sent_until_tls_is_right(
    database: Database, environment: dict[str, str], tmp_path: Path, certificates: Path, faulty: str | None, error: str
) -> None:
    """A certificate of nobody known or for another name, or no TLS at all: not a byte of the webhook goes out; with
    the right certificate it is delivered."""
    receiver = Receiver(status(200))
    patient = {
        "WEBHOOK_SCHEDULE_SECONDS": "0,3600",
        "WEBHOOK_TIMEOUT_SECONDS": "10",
        "WEBHOOK_CONNECT_SECONDS": "10",
        "LEASE_SECONDS": "60",
        "SSL_CERT_FILE": str(certificates / "trusted.pem"),
    }
    async with services({**environment, **FAST, **patient}, tmp_path) as made:
        await made["notifier"].start()
        async with _listening(receiver, certificates / faulty if faulty else None):
            (request_id,) = await ended(database, f"https://127.0.0.1:{receiver.port}/")
            await until_tries(database, request_id, 1)
        assert receiver.received == []
        async with _listening(receiver, certificates / "good.pem"):
            past = {"$set": {"webhook.next_attempt_at": "$$NOW", "woken_at": "$$NOW"}}
            await database.requests.update_one({"_id": request_id}, [past])
            await until_state(database, request_id, WebhookState.DELIVERED)
    assert [attempt["error"] for attempt in await attempts_of(database, request_id)] == [error, None]
