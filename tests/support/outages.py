"""What services say of an outage, by process and part: that it has begun, and that it is over."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.bench.system import children_of
from tests.support.processes import Service

Part = tuple[int, str]
"""A process by its id, and what of it is in trouble: "claiming", "change stream"."""

_BEGINS: Final = (" is paused", " lost, reopening")
_ENDS: Final = (" goes on", " open again")


@dataclass
class Outages:
    """Reads the logs of services on from where they are now."""

    logs: Mapping[Path, int] = field(default_factory=dict)

    @classmethod
    def from_now(cls, folder: Path) -> Outages:
        return cls({log: log.stat().st_size for log in folder.glob("*.log")})

    def said(self) -> dict[Part, list[bool]]:
        """Return what each part has said since then, in order: True where trouble begins, False where it is over."""
        found: dict[Part, list[bool]] = defaultdict(list)
        for log, start in self.logs.items():
            for line in log.read_bytes()[start:].splitlines():
                entry = json.loads(line)
                _note(found, entry)
        return dict(found)


def _note(found: dict[Part, list[bool]], entry: dict[str, Any]) -> None:
    event: str = entry["event"]
    for begins, endings in ((True, _BEGINS), (False, _ENDS)):
        for ending in endings:
            if event.endswith(ending):
                found[entry["pid"], event.removesuffix(ending)].append(begins)


def pids_of(system: Mapping[str, Service]) -> list[int]:
    """Return the ids of all processes of a system that runs, the watcher's workers among them."""
    parents = [service.process.pid for service in system.values() if service.process.returncode is None]
    return [*parents, *children_of(system["watcher"].process.pid)]
