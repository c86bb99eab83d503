"""Signatures of webhooks, Standard Webhooks 1.0.0 (https://github.com/standard-webhooks/standard-webhooks).

A secret is `whsec_` and the base64 of 24 to 64 random bytes. While one is rotated, the new and the old one both sign.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from standardwebhooks import Webhook

PREFIX: Final = "whsec_"
_LEAST, _MOST = 24, 64


@dataclass(frozen=True)
class Secrets:
    """Who signs with what: `shared` for all clients, and a client's own, the newest first."""

    shared: tuple[str, ...] = field(default=(), repr=False)
    own: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def of(self, client: str | None) -> tuple[str, ...]:
        """Return the secrets for webhooks of `client`: its own, or else the shared ones."""
        return self.own.get(client or "", self.shared)


def parse_secrets(text: str) -> Secrets:
    """Parse comma-separated `whsec_…` and `client=whsec_…`; raise `ValueError` that names places, never secrets."""
    shared: list[str] = []
    own: dict[str, tuple[str, ...]] = {}
    for place, piece in enumerate(filter(None, map(str.strip, text.split(","))), start=1):
        # The first "=" may be padding of a secret without a client: those always begin with the prefix.
        client, secret = ("", piece) if piece.startswith(PREFIX) else map(str.strip, piece.partition("=")[::2])
        if fault := _fault(secret):
            raise ValueError(f"secret {place} {fault}")
        if client:
            own[client] = (*own.get(client, ()), secret)
        else:
            shared.append(secret)
    return Secrets(tuple(shared), own)


def _fault(secret: str) -> str | None:
    if not secret.startswith(PREFIX):
        return f"does not begin with {PREFIX}"
    try:
        length = len(base64.b64decode(secret.removeprefix(PREFIX), validate=True))
    except binascii.Error:
        return f"is not base64 behind {PREFIX}"
    if not _LEAST <= length <= _MOST:
        return f"holds {length} bytes instead of {_LEAST} to {_MOST}"
    return None


def signature(secrets: Sequence[str], message_id: str, timestamp: datetime, body: bytes) -> str:
    """Return the value of `webhook-signature`: one `v1,…` for each secret, space-separated.

    `timestamp` must be in UTC, or the library signs another time than it is told.
    """
    return " ".join(Webhook(secret).sign(message_id, timestamp, body.decode()) for secret in secrets)
