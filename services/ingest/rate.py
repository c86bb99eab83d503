"""How often somebody may call: a steady rate with room for a burst (GCRA, ITU-T I.371), one number for each caller."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from typing import Final

BURST_SECONDS: Final = 60.0
"""Who has been quiet may call as often at once as otherwise in a minute."""

MOST_CALLERS: Final = 10_000
"""When so many are remembered, those who have been quiet for long enough to be as good as new are forgotten."""


class Rate:
    """Counts the calls of this process; several replicas behind a balancer allow as many times more."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow so many calls a minute to everybody; 0 allows any number."""
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._clock = clock
        self._full_at: dict[str, float] = {}

    def seconds_to_wait(self, caller: str) -> float:
        """Count a call, and return 0; or, where it comes too early, return after how many seconds it may come."""
        now = self._clock()
        if len(self._full_at) >= MOST_CALLERS:
            self._full_at = {name: full_at for name, full_at in self._full_at.items() if full_at > now}
        full_at = max(now, self._full_at.get(caller, 0.0)) + self._interval
        if (too_early := full_at - now - max(BURST_SECONDS, self._interval)) > 0:
            return too_early
        self._full_at[caller] = full_at
        return 0.0


def of_address(address: str) -> str:
    """Return what stands for the caller at an address: of IPv6 its network, since anybody has 2^64 addresses in one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:  # a UNIX socket has none
        return address
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((found, 64), strict=False))
