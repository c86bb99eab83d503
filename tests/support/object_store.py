"""An S3 of our own: moto's server as a process on loopback, with one empty bucket."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from deploy.local.processes import die_with_parent, free_port

BUCKET: Final = "images"
_START_SECONDS: Final = 30.0


@dataclass(frozen=True)
class ObjectStore:
    """Where it is, and how a service finds it."""

    url: str
    secret: str = "the-secret-access-key-of-the-tests"

    def environment(self, prefix: str) -> dict[str, str]:
        """Return the variables of a service that keeps its images under `prefix`."""
        return {
            "STORAGE_URL": f"s3://{BUCKET}/{prefix}",
            "AWS_ENDPOINT": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": self.secret,
        }


@contextmanager
def serve_s3(folder: Path, port: int = 0) -> Iterator[ObjectStore]:
    """Serve S3 until the context ends, on `port` or a free one, with what the server says in `folder`."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    with (folder / "s3.out").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,
        )
    try:
        _make_bucket(url, process)
        yield ObjectStore(url)
    finally:
        process.terminate()
        process.wait()


def _make_bucket(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            httpx.put(f"{url}/{BUCKET}", timeout=10).raise_for_status()
        except httpx.TransportError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
