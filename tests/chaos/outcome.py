"""What was asked for, and what a run came to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.ledger.violations import Kind, Violation


@dataclass(frozen=True)
class Order:
    """What was asked for."""

    seed: int
    seconds: float
    images: int


@dataclass
class Outcome:
    """What a run came to."""

    order: Order
    images: int
    requests: int
    kills: int
    failovers: int
    cancelled: int
    retried: int
    seconds: float
    violations: list[Violation]
    stray: dict[str, list[str]]
    """Files that nothing points to, as they are allowed, by their cause."""
    died: list[str]
    """What services said that ended by an error of their own."""
    blows: Counter[str] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.violations and not self.died

    def summary(self) -> dict[str, Any]:
        """Return the figures."""
        found = Counter(violation.kind for violation in self.violations)
        return {
            "seed": self.order.seed,
            "images": self.images,
            "requests": self.requests,
            "kills": self.kills,
            "failovers": self.failovers,
            "cancelled": self.cancelled,
            "retried": self.retried,
            **{kind.value: found[kind] for kind in Kind},
            "died": len(self.died),
            **{f"stray_{cause}": len(paths) for cause, paths in self.stray.items()},
            "seconds": round(self.seconds, 1),
        }
