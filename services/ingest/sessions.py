"""The cookie of somebody who signed in: a client's name and an expiry, signed with that client's key.

Nothing is stored: every replica can verify it, and it ends with the key that it was made with.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from imagepress.keys import Keys

COOKIE: Final = "imagepress"

_SEPARATOR: Final = "~"  # allowed in cookies (RFC 6265, section 4.1.1), and in no client's name


@dataclass(frozen=True)
class Sessions:
    """Makes cookies and reads them."""

    keys: Keys
    seconds: float
    clock: Callable[[], float] = time.time
    """Seconds since 1970."""

    def opened(self, key: str) -> str | None:
        """Return the cookie for whoever has this key; None where it is nobody's."""
        found = self.keys.find(key)
        if found is None:
            return None
        client, digest = found
        expires = str(int(self.clock() + self.seconds))
        return _SEPARATOR.join((client, expires, _signature(digest, client, expires)))

    def client_of(self, cookie: str) -> str | None:
        """Return who signed in; None for a cookie that has expired, was altered, or whose key is no more."""
        client, _, rest = cookie.partition(_SEPARATOR)
        expires, _, signature = rest.partition(_SEPARATOR)
        made = [_signature(digest, client, expires) for digest in self.keys.of_client(client)]
        good = [hmac.compare_digest(expected.encode(), signature.encode(errors="replace")) for expected in made]
        return client if any(good) and int(expires) > self.clock() else None


def _signature(digest: bytes, client: str, expires: str) -> str:
    return hmac.digest(digest, f"imagepress sign-in\n{client}\n{expires}".encode(errors="replace"), "sha256").hex()
