"""What goes into the image engine beside bytes, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OutputFormat = Literal["jpeg", "webp", "avif"]


@dataclass(frozen=True, slots=True)
class Options:
    """How a client wants its pictures: encoder `quality` (1 to 95), output `format`, `max_width` in pixels or None."""

    quality: int = 50
    format: OutputFormat = "jpeg"
    max_width: int | None = None


@dataclass(frozen=True, slots=True)
class Compressed:
    """A finished picture: its bytes, how to name and serve it, its size in pixels.

    `kept_original` says that `data` is the input with its metadata cut out, because re-encoding made it larger.
    """

    data: bytes
    extension: str
    content_type: str
    width: int
    height: int
    kept_original: bool
