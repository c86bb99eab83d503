"""Bytes of an image in, bytes of a smaller one out: pure, no I/O."""

from __future__ import annotations

from . import turbo
from .engine import compress, is_quick, tune_allocator
from .model import Compressed, Options

__all__ = ["Compressed", "Options", "compress", "is_quick", "tune_allocator", "turbo"]
