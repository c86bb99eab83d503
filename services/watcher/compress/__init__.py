"""Bytes of an image in, bytes of a smaller one out: pure, no I/O."""

from __future__ import annotations

from . import turbo
from .engine import compress, tune_allocator
from .inspect import inspect
from .model import Compressed, Inspected, Options

__all__ = ["Compressed", "Inspected", "Options", "compress", "inspect", "tune_allocator", "turbo"]
