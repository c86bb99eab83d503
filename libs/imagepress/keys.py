"""API keys: who calls. Pure; only digests of the keys are kept, so that no log and no dump of memory shows one."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

STRONG_CHARACTERS: Final = 16
"""A key is a password that nobody has to remember: `openssl rand -hex 24` makes one. A shorter one can be guessed."""

_CLIENT: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY: Final = re.compile(r"[!-+\--~]{1,512}")  # what a header can carry, without spaces and commas


@dataclass(frozen=True)
class Keys:
    """The keys of an installation; false where there are none, and the service is open."""

    digests: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    """(client, SHA-256 of its key); a client may have several, while one is being replaced."""
    weak: tuple[str, ...] = ()
    """Clients with a key that is short enough to be guessed."""

    def __bool__(self) -> bool:
        return bool(self.digests)

    def find(self, key: str) -> tuple[str, bytes] | None:
        """Return whose key this is, and its digest. Every key takes as long as any other: all are compared, whole."""
        presented = _digest(key)
        found = None
        for client, digest in self.digests:
            if hmac.compare_digest(presented, digest):
                found = client, digest
        return found

    def of_client(self, client: str) -> list[bytes]:
        """Return the digests of a client's keys."""
        return [digest for name, digest in self.digests if name == client]

    def link_secret(self) -> bytes:
        """Return a secret to sign links with that every replica derives from the same keys; none without keys."""
        if not self.digests:
            return b""
        return hashlib.sha256(b"imagepress links\n" + b"".join(sorted(digest for _, digest in self.digests))).digest()


def parse_keys(text: str) -> Keys:
    """Parse comma-separated `client:key`. Raises `ValueError` with every problem; keys are never repeated in it."""
    digests: list[tuple[str, bytes]] = []
    problems: list[str] = []
    weak: list[str] = []
    for place, piece in enumerate(filter(None, (piece.strip() for piece in text.split(","))), start=1):
        client, _, key = piece.partition(":")
        if problem := _problem(client, key, digests):
            problems.append(f"key {place} {problem}")
        digests.append((client, _digest(key)))
        if len(key) < STRONG_CHARACTERS:
            weak.append(client)
    if problems:
        raise ValueError("; ".join(problems))
    return Keys(tuple(digests), tuple(weak))


def _problem(client: str, key: str, before: Iterable[tuple[str, bytes]]) -> str | None:
    """Return what is wrong with a key, as the end of a sentence, or None."""
    if not key:
        return "must be client:key"
    if not _CLIENT.fullmatch(client):
        return "must begin with client: (letters, digits, dots, hyphens and underscores, at most 64)"
    if not _KEY.fullmatch(key):
        return "must have 1 to 512 printable ASCII characters, without spaces and commas"
    if any(digest == _digest(key) and name != client for name, digest in before):
        return "is another client's, too"
    return None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="replace")).digest()
