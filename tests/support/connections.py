"""Every connection that this process tries to make, told by the interpreter itself (PEP 578, event socket.connect)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

_LISTS: Final[list[list[tuple[str, int]]]] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _LISTS:
        for seen in _LISTS:
            seen.append(tuple(arguments[1][:2]))


sys.addaudithook(_hook)  # for the life of the process: it cannot be taken away again


@contextmanager
def connections_tried() -> Iterator[list[tuple[str, int]]]:
    """Collect (address, port) of each connection tried while the context lasts, whether or not it came about."""
    seen: list[tuple[str, int]] = []
    _LISTS.append(seen)
    try:
        yield seen
    finally:
        _LISTS.remove(seen)
