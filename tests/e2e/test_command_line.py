"""The installed command `imagepress`, in a terminal of its own, against the real services."""

from __future__ import annotations

import asyncio
import csv
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.local.mongod import ReplicaSet
from deploy.local.processes import free_port
from tests.conftest import fresh_environment
from tests.support import origin as origins
from tests.support.calls import status_of, upload
from tests.support.command import in_terminal, run, run_json
from tests.support.origin import Origin, serve_origin
from tests.support.pictures import looks_like, photo
from tests.support.processes import FAST, Service, forget_all, services
from tests.support.stored import Stored
from tests.support.uploads import HEADER, csv_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def shared(replica_set: ReplicaSet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The settings of the services that these tests share."""
    return {**fresh_environment(replica_set, tmp_path_factory.mktemp("command")), **FAST}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(shared: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """Ingest, with a watcher behind it."""
    async with services(shared, tmp_path_factory.mktemp("logs")) as made:
        await asyncio.gather(made["ingest"].start(), made["watcher"].start())
        yield made["ingest"]


@pytest_asyncio.fixture(loop_scope="module")
async def ingest(running: Service, shared: dict[str, str]) -> Service:
    """The service, without any request of another test."""
    await forget_all(shared)
    return running


@pytest.fixture
def server(ingest: Service) -> str:
    """Where the service is."""
    return ingest.url


@pytest_asyncio.fixture(loop_scope="module")
async def origin() -> AsyncIterator[Origin]:
    """An origin with one picture under thirty paths."""
    picture = origins.body(photo(1))
    async with serve_origin({f"/{n}": picture for n in range(30)}) as serving:
        yield serving


def _catalogue(folder: Path, content: bytes) -> Path:
    file = folder / "catalogue.csv"
    file.write_bytes(content)
    return file


def _urls(origin: Origin, number: int) -> list[str]:
    return [origin.url(f"/{n}") for n in range(number)]


async def test_a_submission_shows_its_progress_and_brings_back_everything(
    server: str, origin: Origin, tmp_path: Path
) -> None:
    """In a terminal the bar moves while images are held back; then CSV and images are on disk, and the status is 0."""
    gate = asyncio.Event()
    for n in range(12, 30):
        origin.answers[f"/{n}"] = origins.held(gate, origin.answers[f"/{n}"])
    catalogue = _catalogue(tmp_path, csv_of(_urls(origin, 30)))
    result, folder = tmp_path / "result.csv", tmp_path / "out" / "images"
    arguments = ("submit", catalogue, "--wait", "--output", result, "--download", folder)
    async with in_terminal(server, *arguments) as terminal:
        await terminal.shows("12/30")
        gate.set()
        assert await terminal.ended() == 0
        await terminal.shows("30/30")
        await terminal.shows("completed")
    rows = list(csv.DictReader(result.read_text(encoding="utf-8-sig").splitlines()))
    assert [row["Product Name"] for row in rows] == [f"SKU{n}" for n in range(1, 31)]
    files = sorted(folder.iterdir())
    assert len(files) == 30
    assert all(looks_like(file.read_bytes(), photo(1)) for file in files)


async def test_ctrl_c_ends_the_waiting_and_not_the_work(server: str, origin: Origin, tmp_path: Path) -> None:
    """After Ctrl-C the status is 130, the terminal is told how to look again, and the request is still there."""
    origin.answers["/0"] = origins.silent()
    catalogue = _catalogue(tmp_path, csv_of(_urls(origin, 2)))
    async with in_terminal(server, "submit", catalogue, "--wait") as terminal:
        await terminal.shows("/2")  # 0 of them, or 1 already
        terminal.process.send_signal(signal.SIGINT)
        assert await terminal.ended() == 130
        await terminal.shows("imagepress list")
    assert "Traceback" not in terminal.screen
    _, listed = await run_json(server, "list")
    assert listed["requests"][0]["status"] == "processing"


async def test_a_bad_file_is_told_line_by_line(server: str, tmp_path: Path) -> None:
    """A refused file names each line on standard error, exits with 3, and with --json gives the same as data."""
    catalogue = _catalogue(tmp_path, (HEADER + "1,a,ftp://h.example/a\nx,b,http://h.example/b\n").encode())
    status, out, err = await run(server, "submit", catalogue)
    assert (status, out) == (3, "")
    assert "line 2" in err
    assert "line 3" in err
    status, document = await run_json(server, "submit", catalogue)
    assert status == 3
    assert document["error"]["status"] == 422
    assert [problem["line"] for problem in document["error"]["problems"]] == [2, 3]
    status, document = await run_json(server, "list")
    assert document == {"requests": [], "next": None}


async def test_options_reach_the_service(server: str, origin: Origin, tmp_path: Path) -> None:
    """Good rows go on beside bad ones, in the format that was asked for; the bad ones are told."""
    catalogue = _catalogue(tmp_path, csv_of([*_urls(origin, 2), "ftp://h.example/a"]))
    options = ("--skip-bad-rows", "--format", "webp", "--quality", "70", "--max-width", "100")
    status, out, err = await run(server, "submit", catalogue, *options, "--wait")
    assert (status, "completed  2/2" in out) == (0, True)
    assert "bad rows left out: 1" in err
    assert "line 4" in err
    _, listed = await run_json(server, "list", "--status", "completed")
    _, shown = await run_json(server, "status", listed["requests"][0]["request_id"])
    assert [row["output_image_urls"][0][-5:] for row in shown["details"]] == [".webp"] * 2


async def test_failed_images_are_told_and_tried_again(server: str, origin: Origin, tmp_path: Path) -> None:
    """A missing image makes the status 1 and is named with its reason; after a retry of the mended origin it is 0."""
    good = origin.answers.pop("/1")
    catalogue = _catalogue(tmp_path, csv_of(_urls(origin, 3)))
    status, document = await run_json(server, "submit", catalogue, "--wait")
    assert (status, document["images"]) == (1, {"total": 3, "succeeded": 2, "failed": 1})
    request_id = document["request_id"]
    status, out, _ = await run(server, "status", request_id)
    assert status == 1
    assert f"SKU2: {origin.url('/1')}  http_404" in out
    origin.answers["/1"] = good
    status, out, err = await run(server, "retry", request_id, "--wait")
    assert (status, "completed  3/3" in out, "1 image runs again" in err) == (0, True, True)
    status, document = await run_json(server, "retry", request_id)
    assert (status, document["error"]["status"]) == (3, 409)


async def test_the_webhook_is_told(server: str, origin: Origin, tmp_path: Path) -> None:
    """The status says where the webhook stands; nobody sends it here, so it is due."""
    catalogue = _catalogue(tmp_path, csv_of(_urls(origin, 1)))
    status, out, _ = await run(server, "submit", catalogue, "--wait", "--webhook", origin.url("/hook"))
    assert (status, "webhook: due, tries: 0" in out) == (0, True)


async def test_a_request_is_cancelled(ingest: Service, server: str, origin: Origin) -> None:
    """`cancel` stops it; the list and the status say so."""
    origin.answers["/0"] = origins.silent()
    request_id = await upload(ingest, csv_of(_urls(origin, 1)))
    status, _, err = await run(server, "cancel", request_id)
    assert (status, "cancelled" in err) == (0, True)
    assert (await status_of(ingest, request_id))["status"] == "cancelled"
    status, out, _ = await run(server, "list", "--status", "cancelled")
    assert (status, request_id in out) == (0, True)


async def test_waiting_ends_at_the_timeout(server: str, origin: Origin, tmp_path: Path) -> None:
    """A request that does not end in time is named, and the status is 5."""
    origin.answers["/0"] = origins.silent()
    catalogue = _catalogue(tmp_path, csv_of(_urls(origin, 1)))
    status, _, err = await run(server, "submit", catalogue, "--wait", "--timeout", "0.2")
    assert (status, "has not ended within 0.2 s" in err) == (5, True)


@pytest.mark.usefixtures("ingest")  # its watcher works for every ingest of the database
async def test_a_key_comes_from_the_environment(shared: dict[str, str], origin: Origin, tmp_path: Path) -> None:
    """A service with keys refuses who shows none; with one it brings CSV and images, whose links need none."""
    catalogue, folder = _catalogue(tmp_path, csv_of(_urls(origin, 2))), tmp_path / "images"
    async with services({**shared, "API_KEYS": "shop:a-key-of-the-shop-only"}, tmp_path) as guarded:
        await guarded["ingest"].start()
        url = guarded["ingest"].url
        status, _, err = await run(url, "list")
        assert (status, "a key is needed" in err) == (3, True)
        arguments = ("submit", catalogue, "--output", tmp_path / "result.csv", "--download", folder)
        status, _, err = await run(url, *arguments, key="a-key-of-the-shop-only")
    assert status == 0, err
    assert len(list(folder.iterdir())) == 2
    assert "signature=" in (tmp_path / "result.csv").read_text(encoding="utf-8-sig")


@pytest.mark.parametrize("environment", ["s3"], indirect=True)
async def test_images_come_from_the_object_store_itself(
    environment: dict[str, str], origin: Origin, stored: Stored, tmp_path: Path
) -> None:
    """With REDIRECT_TO_STORAGE the links lead on to the store, and the command fetches what they lead to."""
    catalogue, folder = _catalogue(tmp_path, csv_of(_urls(origin, 2))), tmp_path / "images"
    async with services({**environment, **FAST, "REDIRECT_TO_STORAGE": "true"}, tmp_path) as system:
        await asyncio.gather(system["ingest"].start(), system["watcher"].start())
        status, _, err = await run(system["ingest"].url, "submit", catalogue, "--download", folder)
    assert status == 0, err
    files = sorted(folder.iterdir())
    assert len(files) == len(await stored.paths()) == 2
    assert all(looks_like(file.read_bytes(), photo(1)) for file in files)


@pytest.mark.parametrize(
    ("arguments", "expected", "told"),
    [
        (["submit", "no-such-file.csv"], 2, "no-such-file.csv: No such file"),
        (["status", "../x"], 2, "is not the id of a request"),
        (["list", "--limit", "0"], 2, "is not a whole number above 0"),
        (["list", "--server", "localhost:8000"], 2, "is not a URL"),
        ([], 2, "COMMAND"),
        (["list"], 4, "cannot be reached"),
    ],
)
async def test_what_cannot_be_done_is_said_in_a_sentence(arguments: list[str], expected: int, told: str) -> None:
    """Wrong usage, a missing file and a service that is not there each have their exit status and no traceback."""
    status, out, err = await run(f"http://127.0.0.1:{free_port()}", *arguments)
    assert (status, out) == (expected, "")
    assert told in err
    assert "Traceback" not in err


async def test_the_help_tells_the_exit_codes() -> None:
    """`--help` lists environment, exit status and examples."""
    status, out, _ = await run("http://127.0.0.1:1", "--help")
    assert status == 0
    for told in ("IMAGEPRESS_SERVER", "IMAGEPRESS_API_KEY", "exit status:", "130  interrupted"):
        assert told in out
