"""Reads the headers of coded pictures, bit by bit."""

from __future__ import annotations

from typing import Final

_HEAD_BYTES: Final = 1024  # no header that we read is longer: 32 operating points of AV1 take 400 bytes


class Bits:
    """Bits of the start of some bytes, from the first byte's highest on; IndexError beyond them."""

    def __init__(self, data: memoryview) -> None:
        """Begin at the first bit."""
        head = bytes(data[:_HEAD_BYTES])
        self._left = 8 * len(head)
        self._value = int.from_bytes(head, "big")

    def take(self, count: int) -> int:
        """Return the next `count` bits as a number: f(n) of AV1 (4.10.2), u(n) of HEVC (7.2)."""
        if count > self._left:
            raise IndexError("a header ends early")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def uvlc(self) -> int:
        """Return a number of variable length: uvlc() of AV1 (4.10.3), ue(v) of HEVC (9.2)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros) if zeros < 32 else (1 << 32) - 1
