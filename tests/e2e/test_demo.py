"""`make demo`: the main job on real photographs, checked by itself, with nothing left behind."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.support.processes import ROOT


async def test_the_demo_checks_everything_and_leaves_nothing_running(tmp_path: Path) -> None:
    """The demo exits with 0, says that all is checked, and neither a process nor a file of it is left."""
    marked = {**os.environ, "TMPDIR": str(tmp_path), "MONGO_CONNECTION_STRING": "mongodb://never.invalid/"}
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.local.demo"),
        cwd=ROOT,
        env=marked,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await asyncio.wait_for(demo.communicate(), 100))[0].decode()
    assert demo.returncode == 0, said
    assert "all checked" in said
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - no loop is held up by one look
    assert _processes_with(f"TMPDIR={tmp_path}") == []


def _processes_with(variable: str) -> list[str]:
    """Return the ids of processes that have `variable` in their environment (proc(5))."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):  # it has ended, or is not ours
            continue
        if variable.encode() in environment.split(b"\0"):
            found.append(process.name)
    return found
