"""The origin of the photographs: nginx as Debian ships it, faster than anybody here asks."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import httpx

from deploy.local.processes import ServiceDied, die_with_parent, eventually, free_port
from tests.bench.photographs import Photographs

LOG: Final = "error.log"

CONFIGURATION: Final = """
daemon off;
master_process off;  # one process, by whose id it is ended, and which runs as whoever measures
pid {folder}/nginx.pid;
error_log {folder}/{log};
events {{ worker_connections 1024; }}
http {{
  types {{ image/jpeg jpg; }}
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/client;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    # Any number of distinct URLs for one file, as if each were a picture of its own: /SET/ANYTHING/FILE
    location / {{ rewrite ^/([^/]+)/[^/]+/([^/]+)$ /$1/$2 break; root {root}; }}
  }}
}}
"""


class Nginx:
    """A running origin for the sets below one folder."""

    def __init__(self, port: int) -> None:
        """Listen on `port` of 127.0.0.1 already."""
        self._port = port

    def urls(self, photographs: Photographs, number: int, *, part: str) -> list[str]:
        """Return `number` URLs for the files of a set in turn, no two alike, nor like those of another `part`."""
        base = f"http://127.0.0.1:{self._port}/{photographs.kind.name}"
        files = islice(cycle(photographs.files), number)
        return [f"{base}/{part}-{n}/{file.name}" for n, file in enumerate(files)]


@asynccontextmanager
async def serving(root: Path, folder: Path) -> AsyncIterator[Nginx]:
    """Serve the sets below `root` while the context lasts; configuration and logs are kept in `folder`.

    Raises `FileNotFoundError` where there is no nginx, `ServiceDied` where it does not start.
    """
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        raise FileNotFoundError("there is no nginx: run deploy/local/setup_bench.sh")
    port = free_port()
    configuration = _configured(folder, root, port)
    process = await asyncio.create_subprocess_exec(
        *(program, "-p", str(folder), "-c", str(configuration), "-e", str(folder / LOG)),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,  # what it says stands in the log as well
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    try:
        await _until_answered(process, port, folder)
        yield Nginx(port)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def _configured(folder: Path, root: Path, port: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, root=root, port=port, log=LOG))
    return configuration


def _said(folder: Path) -> str:
    log = folder / LOG
    return log.read_text(errors="replace")[-2000:] if log.exists() else ""


async def _until_answered(process: asyncio.subprocess.Process, port: int, folder: Path) -> None:
    async with httpx.AsyncClient() as client:

        async def answers() -> bool:
            if process.returncode is not None:
                raise ServiceDied(f"nginx ended at once:\n{_said(folder)}")
            try:
                await client.get(f"http://127.0.0.1:{port}/")
            except httpx.TransportError:
                return False
            return True

        await eventually(answers)
