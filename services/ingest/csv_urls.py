"""Image URLs of a row: cells to URLs, and what is wrong with one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import urlsplit

MAX_URL_CHARACTERS: Final = 2048

# RFC 3986, section 3.1: wider than letters alone, so that "s3://bucket/key" is refused rather than glued to a URL.
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

_LABELS: Final = r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?"

# What nearly every URL looks like, told at once: it is at least as strict as the careful path below.
_PLAIN: Final = re.compile(rf"https?://{_LABELS}(?::[0-9]{{1,4}})?(?:[/?#][!-~]*)?")

_UNWANTED: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")

# RFC 3986, section 3.2, without what parsers take apart differently: brackets or a backslash before the host.
_AUTHORITY: Final = re.compile(
    r"[A-Za-z]+://(?:[^@/?#\[\]\\]*@)?(?:\[(?P<v6>[^\]]*)\]|(?P<name>[^\[\]:@/?#\\]*))(?::(?P<port>[0-9]{0,5}))?(?=[/?#]|$)"
)
_ASCII_HOST: Final = re.compile(_LABELS)

# Unicode's Default_Ignorable_Code_Point: IDNA drops them, so that "e<U+200B>vil.com" would lead elsewhere than it says.
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f-\u1160\u17b4-\u17b5\u1806\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def joined_urls(cells: Iterable[str], delimiter: str) -> list[str]:
    """Return the URLs of the URL cells of one row, in order.

    Pieces stand between commas and delimiters. Spaces around a piece are trimmed and empty pieces dropped, then one
    without a scheme continues the URL before it, behind the separator it stood behind. Nothing is judged here: a first
    piece without a scheme is returned as it is, and a URL that has grown too long is not continued.
    """
    urls: list[str] = []
    for cell in cells:
        separator = delimiter
        for raw in cell.split(","):
            piece = raw.strip()
            if piece and (not urls or _SCHEME.match(piece)):
                urls.append(piece)
            elif piece and len(urls[-1]) <= MAX_URL_CHARACTERS:  # or a million commas would cost their square
                urls[-1] += separator + piece
            separator = ","
    return urls


def url_fault(url: str) -> str | None:
    """Return what is wrong with an image URL, as a sentence for the client; None if it may be fetched.

    Absolute http and https URLs with a host (a name, also an international one, or an address) pass, with user name and
    port if they have them. Whitespace and control characters are refused anywhere: no server means them, and parsers
    differ in what they make of them. Whether the address may be reached is judged when it is fetched.
    """
    if len(url) > MAX_URL_CHARACTERS:
        return f"the URL {excerpt(url)} is longer than {MAX_URL_CHARACTERS:,} characters"
    if _PLAIN.fullmatch(url):
        return None
    fault = _scheme_fault(url) or _authority_fault(url)
    return f"the URL {excerpt(url)} {fault}" if fault else None


def excerpt(text: str) -> str:
    """Return `text` in quotes for a message, cut short, with control characters escaped."""
    return repr(text if len(text) <= 80 else f"{text[:79]}…")


def _scheme_fault(url: str) -> str | None:
    scheme = _SCHEME.match(url)
    if not scheme:
        return "does not begin with http:// or https://"
    if scheme[1].lower() not in ("http", "https"):
        return f"begins with {scheme[0]}; only http:// and https:// are fetched"
    if unwanted := _UNWANTED.search(url):
        if unwanted[0] == " ":
            return "holds a space; write it as %20, or put a comma between two URLs"
        return f"holds the character U+{ord(unwanted[0]):04X}; remove it, or put a comma between two URLs"
    return None


def _authority_fault(url: str) -> str | None:
    authority = _AUTHORITY.match(url)
    if not authority:
        return "has a host or port that cannot be understood"
    if int(authority["port"] or 0) > 65535:
        return "has a port above 65535"
    fault = _name_fault(authority["name"]) if authority["v6"] is None else _ipv6_fault(authority["v6"])
    return fault or _parser_fault(url)


def _name_fault(host: str) -> str | None:
    if not host:
        return "has no host"
    if _INVISIBLE.search(host):
        return "has a host with an invisible character; type it anew"
    try:
        # IDNA also refuses what cannot be a name: empty labels, labels above 63 characters, mixed directions.
        name = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        return "has a host that is no valid name"
    return None if _ASCII_HOST.fullmatch(name) else "has a host that is no valid name"


def _ipv6_fault(host: str) -> str | None:
    try:
        IPv6Address(host)
    except ValueError:
        return "has brackets around what is no IPv6 address"
    return None


def _parser_fault(url: str) -> str | None:
    try:
        urlsplit(url)
    except ValueError as error:
        return f"cannot be understood ({error})"
    return None
