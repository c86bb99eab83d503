"""The code of a release from the project's own history, to be run beside the present one."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from deploy.local.processes import ROOT


class NotInHistory(Exception):
    """The clone does not reach back to the release."""


def check_out(commit: str, folder: Path) -> dict[str, str]:
    """Write the services and the shared library of `commit` into `folder`; return the environment that runs them.

    They run on the dependencies installed here, which later locks keep compatible. Raises `NotInHistory`.
    """
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", commit, "services", "libs"]
    made = subprocess.run(command, capture_output=True, check=False)
    if made.returncode:
        raise NotInHistory(
            f"the release {commit} is not in the history of this clone; a shallow one is completed by "
            f"`git fetch --unshallow` ({made.stderr.decode().strip()})"
        )
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return {"PYTHONPATH": f"{folder}:{folder / 'libs'}"}
