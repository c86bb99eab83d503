"""Signatures of webhooks as Standard Webhooks 1.0.0 asks for: who signs with which secrets, and the three headers.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from standardwebhooks.webhooks import Webhook

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = range(24, 65)
"""How long a secret may be (section "Signature scheme" of the specification)."""


@dataclass(frozen=True)
class SigningSecrets:
    """The secrets of an installation. They sign, and never appear in a repr."""

    shared: tuple[bytes, ...] = field(default=(), repr=False)
    """Sign the webhooks of every client without secrets of its own, the newest first."""
    of_client: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)
    """Secrets of single clients, by the names of their API keys, the newest first."""

    def of(self, client: str | None) -> tuple[bytes, ...]:
        """Return the secrets that sign the webhooks of `client`, none where nothing is configured."""
        return self.of_client.get(client, self.shared) if client else self.shared


def parse_secrets(text: str) -> SigningSecrets:
    """Parse comma-separated `whsec_…` (shared) and `client=whsec_…` (that client's own), the newest first.

    Raises `ValueError` with every problem; secrets are named by their place in the list and never repeated.
    """
    shared: list[bytes] = []
    of_client: dict[str, tuple[bytes, ...]] = {}
    problems: list[str] = []
    for place, piece in enumerate(filter(None, (piece.strip() for piece in text.split(","))), start=1):
        client, secret = _client_and_secret(piece)
        if problem := _problem(client, secret):
            problems.append(f"secret {place} {problem}")
        elif client is None:
            shared.append(_key(secret))
        else:
            of_client[client] = (*of_client.get(client, ()), _key(secret))
    if problems:
        raise ValueError("; ".join(problems))
    return SigningSecrets(tuple(shared), of_client)


def _client_and_secret(piece: str) -> tuple[str | None, str]:
    """Split `client=whsec_…`; a secret may itself end with equals signs."""
    if piece.startswith(PREFIX):
        return None, piece
    client, _, secret = piece.partition("=")
    return client.strip(), secret.strip()


def _problem(client: str | None, secret: str) -> str | None:
    """Return what is wrong with a secret, as the end of a sentence, or None."""
    if client == "":
        return "names no client before its ="
    if not secret.startswith(PREFIX):
        return f"does not start with {PREFIX} (or, for one client's own, client={PREFIX})"
    try:
        size = len(_key(secret))
    except binascii.Error:
        return f"is not base64 after {PREFIX}"
    if size not in SECRET_BYTES:
        return f"has {size} bytes, and must have {SECRET_BYTES.start} to {SECRET_BYTES.stop - 1}"
    return None


def _key(secret: str) -> bytes:
    """Return the bytes of `whsec_…`; the padding of base64 may be left out, as verifying libraries allow."""
    encoded = secret.removeprefix(PREFIX).rstrip("=")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError as error:  # characters that are not even ASCII
        raise binascii.Error(str(error)) from None


def headers(webhook_id: str, body: bytes, *, secrets: tuple[bytes, ...], now: datetime) -> dict[str, str]:
    """Return `webhook-id`, `webhook-timestamp` (`now` in whole seconds) and, with secrets, `webhook-signature`.

    `body` is what goes over the wire, in UTF-8; `now` must be in UTC. Several secrets, while one is being replaced by
    another, make several signatures with spaces between them: receivers accept any that they know.
    """
    moment = now.astimezone(UTC)  # the library takes any datetime for UTC without looking at its zone
    made = {"webhook-id": webhook_id, "webhook-timestamp": str(int(moment.timestamp()))}
    if secrets:
        text = body.decode()
        made["webhook-signature"] = " ".join(Webhook(secret).sign(webhook_id, moment, text) for secret in secrets)
    return made
