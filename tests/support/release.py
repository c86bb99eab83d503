"""The code of an earlier release, to be run beside the present one.

It is kept as an archive, since a clone need not have any history: `git archive RELEASE services libs/imagepress | xz`.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Final

from deploy.local.processes import ROOT

ARCHIVES: Final = ROOT / "tests" / "deploy" / "releases"


def unpack(release: str, folder: Path) -> dict[str, str]:
    """Write the services and the shared library of `release` into `folder`; return the environment that runs them.

    They run on the dependencies installed here, which later locks keep compatible. Raises `FileNotFoundError`.
    """
    with tarfile.open(ARCHIVES / f"{release}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return {"PYTHONPATH": f"{folder}:{folder / 'libs'}"}
