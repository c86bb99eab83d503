"""The tree of errors: what may be tried again, what may not, and what lost a race.

Drivers' own errors are translated into these at the edge (`mongo`, `leases`, `blobs`, `outbound`, the services'
`queries`), so that nobody further in has to know which library failed.
"""

from __future__ import annotations

from enum import StrEnum


class ImagepressError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        """Carry `message`; the class's docstring is the default."""
        super().__init__(message or (type(self).__doc__ or "").strip().rstrip("."))


class TransientError(ImagepressError):
    """A passing fault: the same call may succeed later."""


class PermanentError(ImagepressError):
    """Trying again will not help."""


class ConflictError(ImagepressError):
    """Somebody else was first."""


class DatabaseUnavailable(TransientError):
    """MongoDB cannot be reached right now."""


class NewerSchema(TransientError):
    """A newer release of imagepress wrote this, and this one leaves it alone."""


class StorageUnavailable(TransientError):
    """The image store refuses right now."""

    def __init__(self, message: str | None = None, *, reason: str = "no reason that can be shown") -> None:
        """Carry `message` for the log, and the `reason` in words that clients may read: no path, no address."""
        super().__init__(message)
        self.reason = reason


class StartupError(PermanentError):
    """The service cannot start as it is set up."""


class SettingsError(StartupError):
    """The settings are not usable."""


class ForbiddenAddress(PermanentError):
    """The address is not one that imagepress may connect to."""


class TooManyBytes(PermanentError):
    """The answer is larger than what is accepted."""


class ImageErrorCode(StrEnum):
    """Why an image failed, as clients read it (contract, "Image error codes"); `http_404` stands for any status."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    FORBIDDEN_ADDRESS = "forbidden_address"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_PIXELS = "too_many_pixels"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    CORRUPT = "corrupt"
    STORAGE = "storage"
    POISON = "poison"
    CANCELLED = "cancelled"


class ImageError(PermanentError):
    """The image cannot be delivered."""

    def __init__(self, code: ImageErrorCode | str, message: str) -> None:
        """Carry the contract's `code` (an `ImageErrorCode`, or `http_` and a status) and a sentence for people."""
        super().__init__(message)
        self.code = str(code)
        self.message = message
