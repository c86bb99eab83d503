"""The images of the services, built and run by buildah: without an engine, a daemon or a registry.

Containers share the network of the machine and, for want of a read-only flag, get only some folders of their own to
write to; a test looks whether they wrote elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from deploy.local.processes import STOP_SECONDS, Service
from tests.support.container_base import base_archive, pip_configuration, run

SERVICES: Final = ("ingest", "watcher", "notifier")
IMAGES_FOLDER: Final = "/var/lib/imagepress/images"

_BASE: Final = "localhost/imagepress-base"
_CERTIFICATES: Final = "/etc/ssl/certs"


@contextmanager
def built_images() -> Iterator[Images]:
    """Build the three images, and delete them at the end. Raises `BuildFailed`."""
    # Not among pytest's folders: those are deleted by whoever comes later, and a store has mounts that may be left.
    folder = Path(tempfile.mkdtemp(prefix="imagepress-images-"))
    images = Images(folder)
    try:
        images.build()
        yield images
    finally:
        images.delete()
        shutil.rmtree(folder)


class Images:
    """The three images, in a store of their own."""

    def __init__(self, folder: Path) -> None:
        """Keep the store in `folder`."""
        self._folder = folder
        self._store = folder / "store"
        self._pip = folder / "pip.conf"
        self._buildah = ("buildah", "--root", str(self._store), "--runroot", str(folder / "run"))

    def build(self) -> None:
        """Build the base and the images on it. Raises `BuildFailed`."""
        archive = base_archive()
        recipe = self._folder / "Dockerfile"
        recipe.write_text(f"FROM scratch\nADD {archive.name} /\n")
        self._pip.write_text(pip_configuration())
        self._do("bud", "--quiet", "--file", str(recipe), "--tag", _BASE, str(archive.parent))
        for service in SERVICES:
            self._build(service, service)

    def build_tracing(self, service: str) -> str:
        """Build the image of a service once more, so that it can trace; return its name. Raises `BuildFailed`."""
        self._build(service, f"{service}-otel", "--build-arg", "OTEL=1")
        return f"{service}-otel"

    def delete(self) -> None:
        """Delete containers, images and mounts."""
        self._do("rm", "--all")
        self._do("rmi", "--all", "--force")
        if (layers := self._store / "overlay").is_mount():
            run("umount", str(layers))

    def _do(self, *arguments: str) -> str:
        return run(*self._buildah, *arguments)

    def _build(self, service: str, image: str, *arguments: str) -> None:
        self._do(
            *("bud", "--quiet", "--layers", "--isolation", "chroot"),
            *("--format", "docker"),  # OCI's own format knows no health check
            *("--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro", "--secret", f"id=pip.conf,src={self._pip}"),
            *("--build-arg", f"BASE_IMAGE={_BASE}", "--file", "deploy/docker/Dockerfile"),
            *("--target", service, "--tag", f"localhost/{image}", *arguments, "."),
        )

    def sizes(self) -> dict[str, str]:
        """Return the size of the base and of each image upon it, as buildah tells it."""
        images = json.loads(self._do("images", "--json"))
        named = {name.partition(":")[0]: image["size"] for image in images for name in image["names"] or ()}
        return {name: named[name] for name in (_BASE, *(f"localhost/{service}" for service in SERVICES))}

    def configuration(self, service: str) -> dict[str, Any]:
        """Return what the image says of itself: user, entry point, labels, health check."""
        found: dict[str, Any] = json.loads(self._do("inspect", "--type", "image", f"localhost/{service}"))
        told: dict[str, Any] = found["Docker"]["config"]
        return told

    def root_of(self, service: str) -> Path:
        """Return the root of an image's files."""
        return self.mounted(self._do("from", f"localhost/{service}"))

    def mounted(self, container: str) -> Path:
        """Return the root of a container's files, as this machine sees it."""
        return Path(self._do("mount", container))

    def container(
        self, service: str, environment: Mapping[str, str], *, port: int, folder: Path, image: str = ""
    ) -> Container:
        """Return a container of a service, not started; it may write to /tmp and to the images in `folder`.

        `image` is the name of another image than the service's usual one.
        """
        name = self._do("from", f"localhost/{image or service}")
        user = int(self.configuration(service)["User"].partition(":")[0])
        volumes = {"/tmp": folder / f"{name}-tmp", IMAGES_FOLDER: folder / "images"}
        for path in volumes.values():
            path.mkdir(exist_ok=True)
            os.chown(path, user, user)
        mounts = [f"--volume={path}:{inside}" for inside, path in volumes.items()]
        settings = [f"--env={key}={value}" for key, value in environment.items()]
        command = (*self._buildah, "run", "--isolation", "chroot", *mounts, *settings, name, "--")
        entry = self.configuration(service)["Entrypoint"]
        return Container(service, command, entry, port=port, log=folder / f"{service}.log")


class Container(Service):
    """One service in its container, which is spoken to as to any other process of a service."""

    def __init__(self, service: str, enter: tuple[str, ...], entry: list[str], *, port: int, log: Path) -> None:
        """Prepare to run `entry`; `enter` is the command that runs another one in the container."""
        machine = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        super().__init__(service, machine, port=port, folder=log.parent, log=log)
        self.container = enter[-2]
        self._enter = enter
        self._entry = entry

    async def spawn(self, *command: str) -> None:
        """Start without waiting; `command` stands for the image's entry point."""
        await super().spawn(*self._enter, *(command or self._entry))

    async def run_beside(self, *command: str) -> int:
        """Run another command in the container, with its environment, to the end; return its exit status."""
        process = await asyncio.create_subprocess_exec(*self._enter, *command, stderr=asyncio.subprocess.DEVNULL)
        return await asyncio.wait_for(process.wait(), STOP_SECONDS)

    def first_process(self) -> int:
        """Return the id, on this machine, of the process that the entry point became. Raises `LookupError`."""
        waiting = [self.process.pid]
        for pid in waiting:
            if _command_of(pid) == self._entry:
                return pid
            waiting += _children_of(pid)
        raise LookupError(f"{self.name} does not run")

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to the service itself, as an engine does, and wait; return the exit status."""
        os.kill(self.first_process(), number)
        return await asyncio.wait_for(self.process.wait(), STOP_SECONDS)

    async def stop(self) -> None:
        """Ask the service to stop. Nothing happens where it does not run."""
        if self._process is not None and self._process.returncode is None:
            await self.kill(signal.SIGTERM)


def _command_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]


def _children_of(pid: int) -> list[int]:
    """Return the children that any thread of a process started."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
