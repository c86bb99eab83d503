"""What the images of a process came to, noted in memory and handed to the metrics a batch at a time.

A metric shared by processes takes 10 µs to change: nine of them for each image would be a tenth of a small one's work.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from imagepress import metrics
from imagepress.errors import ImageErrorCode

# Looked up once: `labels` takes a lock and builds a tuple each time.
_FETCH: Final = metrics.stage_seconds.labels("fetch")
_COMPRESS: Final = metrics.stage_seconds.labels("compress")
_STORE: Final = metrics.stage_seconds.labels("store")
_SUCCEEDED: Final = metrics.images.labels("succeeded", "")
_INPUT: Final = metrics.image_bytes.labels("input")
_OUTPUT: Final = metrics.image_bytes.labels("output")
for _code in ImageErrorCode:
    metrics.images.labels("failed", _code)


@dataclass(slots=True)
class Tally:
    """Seconds that images spent in each stage, and what came of them; threads may append at any time."""

    fetch: list[float] = field(default_factory=list)
    compress: list[float] = field(default_factory=list)
    store: list[float] = field(default_factory=list)
    succeeded: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def count(self, images: int, bytes_in: int, bytes_out: int) -> None:
        """Note `images` that succeeded, each with so many bytes; only the event loop does."""
        self.succeeded += images
        self.bytes_in += images * bytes_in
        self.bytes_out += images * bytes_out

    def flush(self) -> None:
        """Hand everything to the metrics."""
        for histogram, seconds in ((_FETCH, self.fetch), (_COMPRESS, self.compress), (_STORE, self.store)):
            noted = seconds[:]
            del seconds[: len(noted)]  # what a thread appends meanwhile stays
            metrics.observe_all(histogram, noted)
        _SUCCEEDED.inc(self.succeeded)
        _INPUT.inc(self.bytes_in)
        _OUTPUT.inc(self.bytes_out)
        self.succeeded = self.bytes_in = self.bytes_out = 0
