"""Links that clients follow. Where keys are asked for, they are signed: who has one may fetch one thing for a while.

So `<img>`, a spreadsheet or a colleague can fetch what only its owner can list. A signature covers path and expiry; the
path names a request, which nobody can guess either.
"""

from __future__ import annotations

import base64
import hmac
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

STEP_SECONDS: Final = 3600
"""Expiries are rounded up to whole hours: so a link stays the same for a while, and caches know it again."""

_SIGNATURE_BYTES: Final = 18  # of 32: RFC 2104, section 5, allows half; a multiple of three needs no padding


@dataclass(frozen=True)
class Links:
    """Makes links and verifies them; without a `secret` they are plain, and nothing is verified."""

    base_url: str
    secret: bytes = field(default=b"", repr=False)
    seconds: float = 7 * 24 * 3600
    """How long a link is good for, at least."""
    images_url: str = ""
    """Where images are reached instead (`PUBLIC_IMAGE_BASE_URL`): a content delivery network before this service."""
    clock: Callable[[], float] = time.time
    """Seconds since 1970. Replicas that differ by seconds do no harm: links are good for hours."""

    def status(self, request_id: str) -> str:
        """Return the link to a request's status, which asks for a key where keys are asked for."""
        return f"{self.base_url}/api/status?request_id={request_id}"

    def image(self, blob: str) -> str:
        """Return the link to the stored image at the path `blob`."""
        path = f"/compressed_images/{blob}"
        return f"{self.images_url}/{blob}{self._query(path)}" if self.images_url else self._link(path)

    def result_csv(self, request_id: str) -> str:
        """Return the link to the result of a request."""
        return self._link(f"/api/requests/{request_id}/result.csv")

    def images_zip(self, request_id: str) -> str:
        """Return the link to all images of a request."""
        return self._link(f"/api/requests/{request_id}/images.zip")

    def _link(self, path: str) -> str:
        return f"{self.base_url}{path}{self._query(path)}"

    def _query(self, path: str) -> str:
        if not self.secret:
            return ""
        expires = math.ceil((self.clock() + self.seconds) / STEP_SECONDS) * STEP_SECONDS
        return f"?expires={expires}&signature={self._signature(path, str(expires))}"

    def seconds_left(self, path: str, expires: str, signature: str) -> float | None:
        """Return for how many seconds a link to `path` is good, 0 or less if it has expired, None if not made here."""
        good = hmac.compare_digest(self._signature(path, expires).encode(), signature.encode(errors="replace"))
        if not good or not self.secret:
            return None
        return int(expires) - self.clock()

    def _signature(self, path: str, expires: str) -> str:
        digest = hmac.digest(self.secret, f"{path}\n{expires}".encode(errors="replace"), "sha256")
        return base64.urlsafe_b64encode(digest[:_SIGNATURE_BYTES]).decode()
