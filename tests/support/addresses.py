"""Addresses that strangers' URLs must not lead to, and how they may be spelled."""

from __future__ import annotations

from typing import Final

SPELLINGS: Final = [
    "127.0.0.1", "127.0.0.1.", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "0",
    "0.0.0.0", "①②⑦.0.0.1", "１２７.０.０.１", "127。0。0。1", "[::1]", "[::]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1%25lo]", "localhost",
    "LOCALHOST", "example.com@127.0.0.1", "example.com%2f@127.0.0.1", "example.com:80@localhost",
]  # fmt: skip


# One of each range outside the public Internet (IANA's special-purpose registries); test_addresses.py has all.
FORBIDDEN: Final = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "168.63.129.16", "169.254.169.254", "172.16.0.1", "192.0.0.192",
    "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1",
    "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
]  # fmt: skip
