"""What the images are built on in tests: a small Debian with Python, made by mmdebstrap: that needs no registry.

It is kept a week in the user's cache; everything above it is built anew each time.
"""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from deploy.local.processes import ROOT

KEPT_DAYS: Final = 7
INSTALL: Final = "sudo apt-get update && sudo apt-get install -y --no-install-recommends buildah mmdebstrap"

_MMDEBSTRAP: Final = (
    "mmdebstrap",
    "--quiet",
    "--variant=essential",
    "--include=python3,python3-venv,ca-certificates,libturbojpeg0",
    *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "info", "locale")),
    "bookworm",
)
_REACHING: Final = ("index-url", "extra-index-url", "find-links", "cert", "trusted-host", "proxy", "timeout")


class BuildFailed(Exception):
    """A tool that builds is missing, or says why it cannot."""


def run(*command: str) -> str:
    """Run a command in the checkout; return what it printed. Raises `BuildFailed` with what it complained of."""
    if shutil.which(command[0]) is None:
        raise BuildFailed(f"{command[0]} is not on PATH; run: {INSTALL}")
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise BuildFailed(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return ended.stdout.strip()


def base_archive() -> Path:
    """Return the archive of the base's files, from the cache where it is there and fresh. Raises `BuildFailed`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imagepress"
    archive = cache / f"base-{hashlib.sha256(' '.join(_MMDEBSTRAP).encode()).hexdigest()[:8]}.tar"
    if archive.exists() and time.time() - archive.stat().st_mtime < KEPT_DAYS * 24 * 3600:
        return archive
    cache.mkdir(parents=True, exist_ok=True)
    making = archive.with_name(f"{archive.stem}-{os.getpid()}.tar")  # whoever makes one at the same time has another
    try:
        run(*_MMDEBSTRAP, str(making))
        making.replace(archive)
    finally:
        making.unlink(missing_ok=True)
    return archive


def pip_configuration() -> str:
    """Return how this machine's pip reaches its packages, as a file: where that is, the project does not say.

    What else pip is told may name files that the build does not see.
    """
    told = {}
    for line in run(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in _REACHING:
            told[key] = str(ast.literal_eval(value)).strip().replace("\n", "\n  ")
    return "\n".join(["[global]", *(f"{key} = {value}" for key, value in told.items()), ""])
