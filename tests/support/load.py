"""Bars for times that a test measures, on a machine that others may keep busy."""

from __future__ import annotations

import os


def at_once() -> float:
    """Return the seconds that count as at once: one, or more where others keep all of the machine's cores busy."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
