"""What goes wrong on the way to an image, in the contract's codes and in our own words; and whether it may pass."""

from __future__ import annotations

import socket
from typing import Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from imagepress.errors import ImageError, ImageErrorCode, TransientError
from imagepress.outbound import forbidden_within

_UNKNOWN_NAME: Final = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})
# The first that fits; all of them may pass, but for those without a `True`.
_FAULTS: Final[tuple[tuple[type[Exception], ImageErrorCode, bool, str], ...]] = (
    (TimeoutError, ImageErrorCode.TIMEOUT, True, "{host} did not answer in time"),
    (aiohttp.ClientConnectorCertificateError, ImageErrorCode.UNREACHABLE, False, "{host}'s certificate is not trusted"),
    (aiohttp.ClientSSLError, ImageErrorCode.UNREACHABLE, False, "no secure connection to {host} could be made"),
    (aiohttp.ClientConnectorDNSError, ImageErrorCode.UNREACHABLE, True, "{host} could not be resolved"),
    (aiohttp.ClientConnectorError, ImageErrorCode.UNREACHABLE, True, "no connection to {host} could be made"),
    (HttpProcessingError, ImageErrorCode.UNREACHABLE, False, "{host}'s answer is not proper HTTP"),
    (aiohttp.InvalidURL, ImageErrorCode.UNREACHABLE, False, "the URL is malformed"),
    (UnicodeError, ImageErrorCode.UNREACHABLE, False, "the URL's host is not a valid name"),
    (Exception, ImageErrorCode.UNREACHABLE, True, "the connection to {host} broke off"),
)


class PassingFault(TransientError):
    """An attempt failed at `host`, and another may not; `error` is what the image fails with if none succeeds."""

    def __init__(self, error: ImageError, host: str) -> None:
        """Be worded like `error`."""
        super().__init__(error.message)
        self.error = error
        self.host = host


def translated(error: Exception, host: str) -> ImageError | PassingFault:
    """Return what aiohttp's `error` means for the image. aiohttp's own words are left out: they may quote the URL."""
    if forbidden := forbidden_within(error):
        return ImageError(ImageErrorCode.FORBIDDEN_ADDRESS, str(forbidden))
    if isinstance(error, aiohttp.ClientConnectorDNSError) and error.os_error.errno in _UNKNOWN_NAME:
        return ImageError(ImageErrorCode.UNREACHABLE, f"there is no host {host}")
    code, passing, sentence = next(fault[1:] for fault in _FAULTS if isinstance(error, fault[0]))
    failure = ImageError(code, sentence.format(host=host))
    return PassingFault(failure, host) if passing else failure
