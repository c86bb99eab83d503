"""Server-sent events, line by line (HTML standard, section 9.2.6): pure, shared by both clients."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Followed(Enum):
    """How following live progress came to its end."""

    ENDED = auto()
    """The service said that the request has ended."""
    BROKEN = auto()
    """The connection ended before: the status is looked at, and progress followed again."""
    NOT_SERVED = auto()
    """This service, or a proxy before it, has no live progress: the status is looked at now and then."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name and its text."""

    name: str
    data: str


class Decoder:
    """Puts events together from the lines of a stream; what is cut off in the middle is never an event."""

    def __init__(self) -> None:
        """Begin before the first line."""
        self._name = ""
        self._data: list[str] = []

    def feed(self, line: str) -> Event | None:
        """Take a line without its end; return the event that it completes."""
        if not line:
            return self._dispatched()
        name, _, value = line.partition(":")  # a comment, which keeps the connection alive, has an empty name
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
        return None

    def _dispatched(self) -> Event | None:
        name, data = self._name or "message", "\n".join(self._data)
        empty = not self._data
        self._name, self._data = "", []
        # The standard drops events without data; ours named `end` may well have none.
        return None if empty and name != "end" else Event(name, data)
