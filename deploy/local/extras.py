"""`make lock`: what an extra of pyproject.toml asks for, without what only the client library needs.

Whoever installs an extra of a package gets the package's own dependencies, too: here the client library's, which are of
no use to a service in a container.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping
from typing import Final

from packaging.requirements import Requirement

from deploy.local.processes import ROOT

OURS: Final = "imagepress"


def requirements(extras: Mapping[str, list[str]], extra: str) -> Iterator[str]:
    """Yield what `extra` asks for; extras of our own are replaced by what they ask for. Raises `KeyError`."""
    for line in extras[extra]:
        requirement = Requirement(line)
        if requirement.name == OURS:
            for named in sorted(requirement.extras):
                yield from requirements(extras, named)
        else:
            yield line


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    print(*requirements(project["optional-dependencies"], sys.argv[1]), sep="\n")
