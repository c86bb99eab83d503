"""The images of the services: built here, looked into, and run as containers from the upload to the webhook."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement

from deploy.local.processes import free_port
from imagepress import __version__
from tests.support import origin as origins
from tests.support.calls import status_of, until_ended, upload
from tests.support.collector import serve_collector
from tests.support.containers import IMAGES_FOLDER, SERVICES, Container, Images, built_images
from tests.support.origin import serve_origin
from tests.support.pictures import looks_like, photo
from tests.support.processes import FAST, ROOT, eventually
from tests.support.receiver import serve_receiver
from tests.support.uploads import csv_of

pytestmark = pytest.mark.timeout(600)  # the first test builds the images, on a machine that may be busy

USER = 10001
PATIENCE = 120.0  # seconds
LARGEST_BYTES = 160_000_000
"""What an image may hold beside its base: today the watcher's 118 MB, of which the codecs are half."""


@pytest.fixture(scope="module")
def images() -> Iterator[Images]:
    """The three images."""
    with built_images() as built:
        yield built


@pytest.fixture
async def containers(
    images: Images, environment: dict[str, str], tmp_path: Path
) -> AsyncIterator[dict[str, Container]]:
    """A container of each service, not started; the images' own settings stand where nothing else is said."""
    ports = {name: free_port() for name in SERVICES}
    settings = {
        **_without_storage(environment),
        "INGEST_PORT": str(ports["ingest"]),
        "WATCHER_METRICS_PORT": str(ports["watcher"]),
        "NOTIFIER_METRICS_PORT": str(ports["notifier"]),
        "PUBLIC_BASE_URL": f"http://127.0.0.1:{ports['ingest']}",
    }
    async with AsyncExitStack() as stack:
        made = {name: images.container(name, settings, port=ports[name], folder=tmp_path) for name in SERVICES}
        for container in made.values():
            stack.push_async_callback(container.stop)
        yield made
    for container in made.values():  # pytest shows what is printed where a test has failed
        print(f"--- {container.name}\n{container.said()}")


def _without_storage(environment: dict[str, str]) -> dict[str, str]:
    """Return settings of a test that leave the image its own place for images."""
    return {**{name: value for name, value in environment.items() if name != "STORAGE_URL"}, **FAST}


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_says_what_it_is(images: Images, service: str) -> None:
    """A numeric user without rights, an entry point without a shell, a health check, labels."""
    told = images.configuration(service)
    assert told["User"] == f"{USER}:{USER}"
    assert told["Entrypoint"] == ["/opt/venv/bin/python", "-m", f"services.{service}"]
    assert told["Healthcheck"]["Test"][0] == "CMD"
    assert told["Labels"]["org.opencontainers.image.title"] == f"imagepress {service}"
    assert told["Labels"]["org.opencontainers.image.licenses"] == "MIT"
    assert told["Labels"]["org.opencontainers.image.version"] == __version__


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_holds_the_locked_dependencies_of_its_service_and_nothing_of_development(
    images: Images, service: str
) -> None:
    """Its packages are those of its lock file, its code its own and the shared library; no tests, tools, installer."""
    root = images.root_of(service)
    [packages] = root.glob("opt/venv/lib/python3.*/site-packages")
    python = packages.parent.name.removeprefix("python")
    installed = {found.name.partition("-")[0].replace("_", "-").lower() for found in packages.glob("*.dist-info")}
    assert installed == _locked(service, python)
    assert installed.isdisjoint({"pip", "pytest", "ruff", "mypy", "uv", "hatchling", "setuptools"})
    assert {path.name for path in (root / "opt").iterdir()} == {"venv"}
    assert {path.name for path in (root / "app").iterdir()} == {"imagepress", "services"}
    assert {path.name for path in (root / "app/services").iterdir()} == {service}


def _locked(service: str, python: str) -> set[str]:
    lines = (ROOT / f"deploy/locks/{service}.txt").read_text().splitlines()
    wanted = [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalnum()]
    return {
        one.name.replace("_", "-").replace(".", "-").lower()
        for one in wanted
        if one.marker is None or one.marker.evaluate({"python_version": python, "python_full_version": f"{python}.0"})
    }


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_that_runs_in_an_image_can_be_changed_by_who_runs_it(images: Images, service: str) -> None:
    """Code and dependencies belong to root, and nobody else may write to them."""
    root = images.root_of(service)
    for folder in (root / "opt", root / "app"):
        for path in (folder, *folder.rglob("*")):
            found = path.lstat()
            assert found.st_uid == 0, path
            assert path.is_symlink() or not found.st_mode & 0o022, path


def test_images_are_small(images: Images, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the base an image holds its dependencies and its code; the sizes are printed."""
    for service in SERVICES:
        root = images.root_of(service)
        ours = sum(path.lstat().st_size for folder in ("opt", "app") for path in (root / folder).rglob("*"))
        assert ours < LARGEST_BYTES, service
    with capsys.disabled():
        print("\nimages:", ", ".join(f"{name} {size}" for name, size in images.sizes().items()))


async def test_from_upload_to_webhook_between_containers(
    images: Images, containers: dict[str, Container], tmp_path: Path
) -> None:
    """A CSV goes in, compressed images and a webhook come out; everyone ran without rights, wrote to its volumes only,
    was found healthy, and left at SIGTERM with status 0."""
    answers = {f"/{n}": origins.body(photo(n)) for n in range(3)}
    async with serve_origin(answers) as origin, serve_receiver() as receiver:
        checks = {name: images.configuration(name)["Healthcheck"]["Test"][1:] for name in SERVICES}
        for name, container in containers.items():
            assert await container.run_beside(*checks[name]) != 0, f"{name} is found healthy before it runs"
            await container.spawn()
            await container.until_ready(PATIENCE)
            assert await container.run_beside(*checks[name]) == 0, container.said()
            assert _users_of(container.first_process()) == {USER}
        urls = [origin.url(path) for path in (*answers, "/gone")]
        request_id = await upload(containers["ingest"], csv_of(urls), receiver.url("/hook"))
        status = await until_ended(containers["ingest"], request_id, PATIENCE)
        assert status["images"] == {"total": 4, "succeeded": 3, "failed": 1}, containers["watcher"].said()
        async with httpx.AsyncClient() as client:
            for n, row in enumerate(status["details"][:3]):
                answer = await client.get(row["output_image_urls"][0])
                assert looks_like(answer.content, photo(n))
            assert (await client.get(f"{containers['ingest'].url}/")).status_code == 200, "the page is not in the image"

        async def delivered() -> bool:
            return bool((await status_of(containers["ingest"], request_id))["webhook"]["state"] == "delivered")

        await eventually(delivered, PATIENCE)
        [call] = receiver.received
        assert call.json["request_id"] == request_id
        for container in containers.values():
            assert await container.kill(signal.SIGTERM) == 0, container.said()
    assert len(list((tmp_path / "images").rglob("*.jpg"))) == 3
    for container in containers.values():
        assert _written_by_user(images.mounted(container.container)) == []


async def test_an_image_with_opentelemetry_sends_spans(
    images: Images, environment: dict[str, str], tmp_path: Path
) -> None:
    """Built with OTEL=1 and started with TRACING, a container's upload arrives at the collector as a span."""
    port = free_port()
    async with serve_collector() as collector, AsyncExitStack() as stack:
        settings = {**_without_storage(environment), **collector.environment, "INGEST_PORT": str(port)}
        image = images.build_tracing("ingest")
        ingest = images.container("ingest", settings, port=port, folder=tmp_path, image=image)
        stack.push_async_callback(ingest.stop)
        await ingest.spawn()
        await ingest.until_ready(PATIENCE)
        await upload(ingest, csv_of(["http://127.0.0.1:9/a"]))

        async def told() -> bool:
            return [(span.service, span.name) for span in collector.spans] == [("imagepress-ingest", "upload")]

        await eventually(told, PATIENCE)


def _users_of(pid: int) -> set[int]:
    """Return the real, effective, saved and file system user ids of a process."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Uid:")]
    return {int(user) for user in line.split()[1:]}


def _written_by_user(root: Path) -> list[str]:
    """Return what belongs to the user of the service in a container's own files: nothing that it did not write."""
    mount_point = root / IMAGES_FOLDER.removeprefix("/")
    return [str(path) for path in root.rglob("*") if path.lstat().st_uid == USER and path != mount_point]
