"""The installed command `imagepress`, run as a script runs it, or in a terminal of its own as a person does."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.processes import eventually

COMMAND = Path(sys.executable).with_name("imagepress")
SECONDS = 60
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Terminal:
    """The command in a terminal of 160 columns: what it shows grows in `screen`."""

    process: asyncio.subprocess.Process
    screen: str = ""

    async def shows(self, text: str) -> None:
        """Wait until it shows a text."""

        async def seen() -> bool:
            return text in self.screen

        await eventually(seen)

    async def ended(self) -> int:
        """Wait for its end; return the exit status."""
        return await asyncio.wait_for(self.process.wait(), SECONDS)


def _environment(server: str, key: str | None = None) -> dict[str, str]:
    machine = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return {
        **machine,
        "IMAGEPRESS_SERVER": server,
        "TERM": "xterm-256color",
        "COLUMNS": "160",
        **({"IMAGEPRESS_API_KEY": key} if key else {}),
    }


@asynccontextmanager
async def in_terminal(server: str, *arguments: object) -> AsyncIterator[Terminal]:
    """Run the command with a pty for its input, output and errors; show what it said where the test fails."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    process = await asyncio.create_subprocess_exec(
        COMMAND, *map(str, arguments), env=_environment(server), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    terminal = Terminal(process)
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            terminal.screen += _ESCAPES.sub("", os.read(ours, 65536).decode(errors="replace"))
        except OSError:  # Linux ends a terminal that nobody holds any more with EIO
            loop.remove_reader(ours)
            os.close(ours)

    loop.add_reader(ours, read)
    try:
        yield terminal
    except BaseException:
        print(terminal.screen)
        raise
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(server: str, *arguments: object, key: str | None = None) -> tuple[int, str, str]:
    """Run the command as a script does, without a terminal; return its status, output and errors."""
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *map(str, arguments),
        env=_environment(server, key),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def run_json(server: str, *arguments: object) -> tuple[int, Any]:
    """Run the command with `--json`; return its status and the one object it prints."""
    status, out, err = await run(server, *arguments, "--json")
    assert err == ""
    return status, json.loads(out)
