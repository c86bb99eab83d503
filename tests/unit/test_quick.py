"""Which pictures are compressed in a moment: what a codec thread may let finished results wait for."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from services.watcher.compress import Options, is_quick
from tests.support.pictures import photo


def _saved(kind: str, size: tuple[int, int] = (300, 200)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "options", "expected"),
    [
        (photo(1, (200, 300)), Options(), True),
        (photo(1, (200, 300)), Options(format="webp"), False),
        (photo(1, (200, 300)), Options(format="avif"), False),
        (photo(1, (1000, 1000)), Options(), False),
        (_saved("JPEG", (3000, 2000)), Options(), False),
        (_saved("PNG"), Options(), False),
        (_saved("WEBP"), Options(), False),
        (b"", Options(), False),
        (photo(1, (200, 300)) + bytes(100_000), Options(), False),
    ],
    ids=["small", "to WebP", "to AVIF", "large", "large and flat", "PNG", "WebP", "nothing", "many bytes"],
)
def test_small_photographs_are_quick(data: bytes, options: Options, expected: bool) -> None:
    """A JPEG of few pixels and bytes that becomes a JPEG is; what takes long for its size on the wire is not."""
    assert is_quick(data, options) is expected
