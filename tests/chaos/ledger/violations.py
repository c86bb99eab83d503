"""What may be wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What may be wrong, by the name of its figure in the summary."""

    LOST = "lost"
    DOUBLE_COUNTED = "double_counted"
    WRONG_IMAGE = "wrong_image"
    WEBHOOKS_MISSING = "webhooks_missing"
    WEBHOOKS_WRONG = "webhooks_wrong"
    ORPHANS = "orphans"


@dataclass(frozen=True)
class Violation:
    """Something that must not be, and where."""

    kind: Kind
    where: str
    what: str
