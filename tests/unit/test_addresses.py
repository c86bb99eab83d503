"""Which addresses may be reached: every range, every spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagepress.addresses import (
    AddressPolicy,
    literal_address,
    parse_networks,
    parse_ports,
    refusal_of_url,
)
from imagepress.errors import ForbiddenAddress

PORTS = parse_ports("80,443,1024-65535")
PUBLIC_ONLY = AddressPolicy(allowed_networks=(), allowed_ports=PORTS)

FORBIDDEN = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
    "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.9", "192.0.0.10", "192.0.0.192",
    "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "64:ff9b:1:0:8:8:808:800", "100::1",
    "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254",
    "fe80::1", "fe80::1%lo", "fec0::1", "ff02::1", "ff0e::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_address_that_is_no_public_server_is_forbidden(address: str) -> None:
    """Every range outside the public Internet is refused, also inside a mapped, NAT64 or 6to4 address."""
    with pytest.raises(ForbiddenAddress, match=r" is "):
        PUBLIC_ONLY.check(address, 443)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_is_allowed(address: str) -> None:
    """A public server may be reached, also through NAT64, as IPv6-only networks do."""
    PUBLIC_ONLY.check(address, 443)


@pytest.mark.parametrize("address", ["localhost", "127.1", "0x7f.0.0.1", "", "1.1.1.1 ", "１.1.1.1"])
def test_what_is_not_numeric_is_forbidden(address: str) -> None:
    """Only plain numeric addresses are judged at the socket; anything else fails closed."""
    with pytest.raises(ForbiddenAddress, match="not a numeric address"):
        PUBLIC_ONLY.check(address, 443)


@pytest.mark.parametrize("port", [0, 21, 22, 25, 81, 442, 1023, 65536, -1])
def test_port_that_is_not_allowed_is_forbidden(port: int) -> None:
    """A public address on the port of a mail server is refused as well."""
    with pytest.raises(ForbiddenAddress, match=f"port {port} is not among"):
        PUBLIC_ONLY.check("1.1.1.1", port)


@pytest.mark.parametrize(
    ("networks", "address"),
    [
        ("127.0.0.0/8", "127.0.0.1"),
        ("127.0.0.0/8", "::ffff:127.0.0.1"),
        ("10.0.0.0/8, ::1/128", "::1"),
        ("fe80::/10", "fe80::1%lo"),
        ("2002::/16", "2002:7f00:1::"),
    ],
)
def test_allowed_network_is_allowed(networks: str, address: str) -> None:
    """A network that the operator allows may be reached, in whatever form its address comes."""
    AddressPolicy(parse_networks(networks), PORTS).check(address, 1024)


def test_allowing_one_network_allows_no_other() -> None:
    """Allowing loopback does not allow the private networks."""
    with pytest.raises(ForbiddenAddress, match=r"10\.0\.0\.1 is a private address"):
        AddressPolicy(parse_networks("127.0.0.0/8,::1/128"), PORTS).check("10.0.0.1", 80)


def test_allowed_network_is_not_that_behind_a_gateway() -> None:
    """Allowing our loopback does not allow that of a NAT64 gateway."""
    with pytest.raises(ForbiddenAddress):
        AddressPolicy(parse_networks("127.0.0.0/8"), PORTS).check("64:ff9b::7f00:1", 80)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "localhost", "10.0.0.0/33", "10.0.0.0-10.0.0.9"])
def test_malformed_network_is_told(text: str) -> None:
    """A setting that is no network is refused with a sentence that repeats it."""
    with pytest.raises(ValueError, match=f"'{text}' is not a network"):
        parse_networks(f"127.0.0.0/8, {text}")


@pytest.mark.parametrize("text", ["", " , ", "0", "65536", "90-80", "http", "80-", "-80", "1-2-3", "８０"])
def test_malformed_ports_are_told(text: str) -> None:
    """A setting that is no list of ports is refused with a sentence."""
    with pytest.raises(ValueError, match=r"port|within 1 to 65535"):
        parse_ports(text)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"), ("127.0.0.1.", "127.0.0.1"), ("127.1", "127.0.0.1"), ("127.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"), ("0x7f000001", "127.0.0.1"), ("0X7F.1", "127.0.0.1"), ("127.0.0.0x1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"), ("0000177.0.0.01", "127.0.0.1"), ("017700000001", "127.0.0.1"), ("0", "0.0.0.0"),
        ("10.1", "10.0.0.1"), ("169.254.43518", "169.254.169.254"), ("①②⑦.0.0.1", "127.0.0.1"),
        ("１２７.０.０.１", "127.0.0.1"), ("127。0。0。1", "127.0.0.1"), ("127%2e0%2e0%2e1", "127.0.0.1"),
        ("[::1]", "::1"), ("::1", "::1"), ("[::ffff:127.0.0.1]", "::ffff:7f00:1"), ("[fe80::1%25lo]", "fe80::1"),
        ("fe80::1%lo", "fe80::1"), ("0:0:0:0:0:0:0:1", "::1"),
    ],
)  # fmt: skip
def test_every_spelling_of_an_address_is_read(host: str, address: str) -> None:
    """Decimal, octal, hexadecimal, short, full-width, escaped, bracketed and scoped spellings are one address."""
    assert str(literal_address(host)) == address


@pytest.mark.parametrize(
    "host", ["", "example.com", "1.2.3.4.5", "08.0.0.1", "256.1.1.1", "4294967296", "1..2", "g::1"]
)
def test_name_is_not_taken_for_an_address(host: str) -> None:
    """What no resolver reads as an address is a name."""
    assert literal_address(host) is None


@given(st.text(max_size=40) | st.from_regex(r"[0-9a-fx.:%\[\]]{0,30}", fullmatch=True))
def test_no_host_raises(host: str) -> None:
    """Any text at all is either an address or a name, and any URL is either refused or not."""
    literal_address(host)
    refusal_of_url(host, PUBLIC_ONLY)
    refusal_of_url(f"http://{host}/", PUBLIC_ONLY)


@pytest.mark.parametrize(
    ("url", "refusal"),
    [
        ("http://127.0.0.1/hook", "127.0.0.1 is a loopback address"),
        ("http://0x7f.1/", "127.0.0.1 is a loopback address"),
        ("http://①②⑦.0.0.1/", "127.0.0.1 is a loopback address"),
        ("http://[::1]:8080/", "::1 is a loopback address"),
        ("http://[::ffff:10.0.0.1]/", "::ffff:a00:1 is a private address"),
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254 is a link-local address"),
        ("http://localhost:8000/", "127.0.0.1 is a loopback address"),
        ("http://api.LOCALHOST./", "127.0.0.1 is a loopback address"),
        ("http://example.com@127.0.0.1/", "127.0.0.1 is a loopback address"),
        ("http://a@b@example.com/", "the URL has more than one @ before its path"),
        ("http://example.com\\@127.0.0.1/", "the URL contains spaces, control characters or backslashes"),
        ("http://exa\tmple.com/", "the URL contains spaces, control characters or backslashes"),
        (" http://example.com/", "the URL contains spaces, control characters or backslashes"),
        ("http://example.com:22/", "port 22 is not among the allowed ports"),
        ("http://example.com:0/", "port 0 is not among the allowed ports"),
        ("http://example.com:99999/", "the URL is malformed: Port out of range 0-65535"),
        ("http://[::1/", "the URL is malformed: Invalid IPv6 URL"),
        ("ftp://example.com/", "the URL must start with http:// or https://"),
        ("//example.com/", "the URL must start with http:// or https://"),
        ("http:///path", "the URL names no host"),
        (f"http://{'a' * 64}.com/", "the URL's host is not a valid name"),
        ("http://a..b/", "the URL's host is not a valid name"),
    ],
)
def test_unusable_url_is_refused_with_a_sentence(url: str, refusal: str) -> None:
    """A webhook URL that can never be called is refused at upload, with the reason."""
    assert refusal_of_url(url, PUBLIC_ONLY) == refusal


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook?a=1",
        "HTTPS://Example.COM",
        "http://user:secret@example.com:8080/",
        "http://1.1.1.1/",
        "https://[2606:4700::1]/",
        "https://bücher.example/",
    ],
)
def test_usable_url_is_not_refused(url: str) -> None:
    """A name, a public address, a user's name in the URL or an international name speak against nothing."""
    assert refusal_of_url(url, PUBLIC_ONLY) is None


def test_local_url_is_usable_where_loopback_is_allowed() -> None:
    """With loopback allowed, as in `make demo`, the local webhook-test can be called."""
    policy = AddressPolicy(parse_networks("127.0.0.0/8"), PORTS)
    assert refusal_of_url("http://localhost:8000/api/webhook-test", policy) is None
