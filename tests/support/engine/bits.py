"""Coded headers, written bit by bit."""

from __future__ import annotations


def bits(*fields: tuple[int, int]) -> bytes:
    """Fields of (bits, value), one after the other, and zeros behind them."""
    text = "".join(f"{value:0{width}b}" for width, value in fields if width)
    text += "0" * (-len(text) % 8 + 64)
    return int(text, 2).to_bytes(len(text) // 8, "big")
