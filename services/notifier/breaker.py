"""Circuit breakers, one a host: who fails again and again is left alone for a while, then probed once. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

OPENS_AFTER: Final = 5
"""Failures in a row, of whatever webhooks of the host, that open its breaker."""

FIRST_PAUSE_SECONDS: Final = 10.0
LONGEST_PAUSE_SECONDS: Final = 300.0

MOST_HOSTS: Final = 10_000
"""Hosts remembered. Those that work are forgotten at once, so this many would have to fail together."""


@dataclass(slots=True)
class _Host:
    failures: int = 0
    pause: float = FIRST_PAUSE_SECONDS
    open_until: float | None = None
    probing: bool = False


class Breakers:
    """The breakers of one notifier. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with all closed."""
        self._clock = clock
        self._hosts: dict[str, _Host] = {}

    @property
    def open_hosts(self) -> list[str]:
        """Hosts that must not be called now, but for a probe that is under way."""
        now = self._clock()
        return [
            name for name, host in self._hosts.items() if host.open_until and (host.open_until > now or host.probing)
        ]

    def admits(self, name: str) -> bool:
        """Tell whether `name` may be called; after the pause that is one probe, and no other until it is judged."""
        host = self._hosts.get(name)
        if host is None or host.open_until is None:
            return True
        if host.probing or host.open_until > self._clock():
            return False
        host.probing = True
        return True

    def is_half_open(self, name: str) -> bool:
        """Tell whether `name` is to be probed: its breaker opened, and has not closed since."""
        host = self._hosts.get(name)
        return host is not None and host.open_until is not None

    def succeeded(self, name: str) -> bool:
        """Note an answer that shows the host to be well; return whether that closed an open breaker."""
        host = self._hosts.pop(name, None)
        return host is not None and host.open_until is not None

    def failed(self, name: str) -> float | None:
        """Note a failure; return the pause in seconds where it opened the breaker (again), None otherwise."""
        if name not in self._hosts and len(self._hosts) >= MOST_HOSTS:
            return None
        host = self._hosts.setdefault(name, _Host())
        host.failures += 1
        if host.open_until is not None and not host.probing:
            return None  # a call that was under way when it opened
        if not host.probing and host.failures < OPENS_AFTER:
            return None
        pause = host.pause
        host.open_until = self._clock() + pause
        host.pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        host.probing = False
        return pause
