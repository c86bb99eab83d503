"""Which addresses imagepress may connect to: pure policy, no I/O.

Image and webhook URLs are strangers' input. `AddressPolicy.check` is asked for every address really connected to (see
`outbound`); `refusal_of_url` refuses at upload what can be known without resolving names.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, unquote, urlsplit

from imagepress.errors import ForbiddenAddress

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
PortRanges = tuple[range, ...]

# Only 2000::/3 is global unicast (RFC 4291, section 2.4). Asking for it also shuts out ::/96, 64:ff9b:1::/48,
# 5f00::/16, fec0::/10 and multicast, some of which `is_global` of Python 3.11 lets through.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# DNS64 gives IPv6-only networks public IPv4 servers under this prefix (RFC 6052): judged by the address within.
_NAT64 = IPv6Network("64:ff9b::/96")
# What `is_global` of Python 3.11 lets through within the ranges that are otherwise public.
_NEVER: tuple[tuple[Network, str], ...] = (
    (IPv4Network("192.0.0.0/24"), "is reserved for protocols"),
    (IPv4Network("192.88.99.0/24"), "is a 6to4 relay"),
    (IPv4Network("168.63.129.16/32"), "is a cloud's metadata service"),  # Azure: public by its number only
    (IPv6Network("2002::/16"), "is a 6to4 address"),  # hides an IPv4 address; deprecated by RFC 7526
    (IPv6Network("3fff::/20"), "is for documentation"),  # RFC 9637
)
_LOCAL_NAMES = re.compile(r"(.*\.)?localhost|localhost\.localdomain|ip6-(localhost|loopback)")
_NUMBER = re.compile(r"0[xX]0*(?P<hex>[0-9a-fA-F]{0,8})|0+(?P<octal>[0-7]{0,11})|(?P<decimal>[1-9][0-9]{0,9})")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class AddressPolicy:
    """Where outbound connections may go: public addresses, and those in `allowed_networks`, on `allowed_ports`."""

    allowed_networks: tuple[Network, ...]
    allowed_ports: PortRanges

    def check(self, address: str, port: int) -> None:
        """Raise `ForbiddenAddress`, saying which and why, unless the numeric `address` may be reached on `port`."""
        if not any(port in ports for ports in self.allowed_ports):
            raise ForbiddenAddress(f"port {port} is not among the allowed ports")
        try:
            outer = ip_address(address.partition("%")[0])  # a scope names a network card, not another address
        except ValueError:
            raise ForbiddenAddress(f"{address!r} is not a numeric address") from None
        # Allowed as written or as mapped, which is the same socket; through NAT64 it would be the gateway's network.
        local = (getattr(outer, "ipv4_mapped", None) or outer, outer)
        if any(one in network for network in self.allowed_networks for one in local):
            return
        if reason := _reason_against(_unwrapped(outer)):
            raise ForbiddenAddress(f"{address} {reason}")


def _unwrapped(address: Address) -> Address:
    """Return the IPv4 address that a mapped or NAT64 address leads to, and any other address as it is."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address


def _reason_against(address: Address) -> str | None:
    """Return why `address` is not a public server's, as the end of a sentence, or None if it is."""
    for network, reason in _NEVER:
        if address in network:
            return reason
    named = {
        "is a loopback address": address.is_loopback,
        "is a link-local address": address.is_link_local,
        "is a multicast address": address.is_multicast,
        "is a private address": address.is_private and not address.is_unspecified,
        "is not a public address": not address.is_global
        or (isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST),
    }
    return next((reason for reason, applies in named.items() if applies), None)


def parse_networks(text: str) -> tuple[Network, ...]:
    """Parse comma-separated CIDRs, as in `10.0.0.0/8, ::1/128`; raise `ValueError` with a sentence on anything else."""
    networks: list[Network] = []
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        try:
            networks.append(ip_network(piece))
        except ValueError as error:
            raise ValueError(f"{piece!r} is not a network such as 10.0.0.0/8: {error}") from None
    return tuple(networks)


def parse_ports(text: str) -> PortRanges:
    """Parse ports and ranges, both ends included, as in `80,443,1024-65535`; raise `ValueError` on anything else."""
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    if not pieces:
        raise ValueError("at least one port is needed, as in 80,443,1024-65535")
    return tuple(_port_range(piece) for piece in pieces)


def _port_range(piece: str) -> range:
    match = re.fullmatch(r"([0-9]{1,5})(?:\s*-\s*([0-9]{1,5}))?", piece)
    if not match:
        raise ValueError(f"{piece!r} is neither a port nor a range of ports such as 1024-65535")
    first, last = int(match[1]), int(match[2] or match[1])
    if not 1 <= first <= last <= 65535:
        raise ValueError(f"{piece!r} is not within 1 to 65535, lower end first")
    return range(first, last + 1)


def literal_address(host: str) -> Address | None:
    """Return the address that `host` spells, or None if it is a name.

    Knows every spelling that some resolver or browser reads as an address: brackets, scopes, trailing dots, percent
    escapes, full-width digits (NFKC), and inet_aton's decimal, octal, hexadecimal and short forms.
    """
    plain = unicodedata.normalize("NFKC", unquote(host)).replace("。", ".").strip("[]").removesuffix(".")
    if ":" not in plain:
        return _inet_aton(plain)
    try:
        return IPv6Address(plain.partition("%")[0])
    except ValueError:
        return None


def _inet_aton(text: str) -> IPv4Address | None:
    """Read one to four numbers as the BSD function does, of which the last fills the bytes that are left."""
    numbers = [_number(part) for part in text.split(".")]
    if len(numbers) > 4 or None in numbers:
        return None
    *leading, last = [number for number in numbers if number is not None]
    if any(number > 255 for number in leading) or last >= 256 ** (4 - len(leading)):
        return None
    return IPv4Address(sum(number << 8 * (3 - place) for place, number in enumerate(leading)) + last)


def _number(part: str) -> int | None:
    """Read a decimal, 0-octal or 0x-hexadecimal number (at most 32 bits, which also keeps `int` cheap)."""
    match = re.fullmatch(
        r"0[xX]0*(?P<hex>[0-9a-fA-F]{0,8})|0+(?P<octal>[0-7]{0,11})|(?P<decimal>[1-9][0-9]{0,9})", part
    )
    if not match:
        return None
    base = {"hex": 16, "octal": 8, "decimal": 10}[match.lastgroup or "decimal"]
    return int(match[match.lastgroup or 0] or "0", base)


def refusal_of_url(url: str, policy: AddressPolicy) -> str | None:
    """Return why `url` cannot be called, as a sentence, or None if nothing speaks against it yet.

    Names are not resolved here: what they lead to is judged at the socket, at every connection.
    """
    if re.search(r"[\x00-\x20\x7f\\]", url):  # parsers disagree about the host behind these
        return "the URL contains spaces, control characters or backslashes"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"the URL is malformed: {error}"
    if parts.scheme not in _DEFAULT_PORTS:
        return "the URL must start with http:// or https://"
    if not parts.hostname:
        return "the URL names no host"
    if parts.netloc.count("@") > 1:  # parsers disagree about where the host begins
        return "the URL has more than one @ before its path"
    return _refusal_of_host(parts, _DEFAULT_PORTS[parts.scheme] if port is None else port, policy)


def _refusal_of_host(parts: SplitResult, port: int, policy: AddressPolicy) -> str | None:
    host = unicodedata.normalize("NFKC", parts.hostname or "").removesuffix(".").lower()
    literal = literal_address(host)
    if literal is None:
        try:
            host.encode("idna")
        except UnicodeError:
            return "the URL's host is not a valid name"
    # A name may lead anywhere; a public address stands for it, so that only the port is judged.
    address = "127.0.0.1" if _LOCAL_NAMES.fullmatch(host) else str(literal or "1.1.1.1")
    try:
        policy.check(address, port)
    except ForbiddenAddress as error:
        return str(error)
    return None
