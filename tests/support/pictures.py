"""Pictures made by the tests themselves, each telling its identity by its colours."""

from __future__ import annotations

import io

import numpy as np
from PIL import ExifTags, Image

SIZE = (320, 240)


def photo(
    identity: int, size: tuple[int, int] = SIZE, quality: int = 92, comment: str = "", orientation: int = 1
) -> bytes:
    """Return a JPEG that looks like a photograph to the codec: slopes of colour, with grain from seed `identity`.

    `orientation` is EXIF's: with any but 1 it is to be turned.
    """
    width, height = size
    rng = np.random.default_rng(identity)
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    corners = rng.uniform(0, 255, (4, 3))
    slopes = (
        corners[0] * ((1 - across) * (1 - down))[..., None]
        + corners[1] * (across * (1 - down))[..., None]
        + corners[2] * ((1 - across) * down)[..., None]
        + corners[3] * (across * down)[..., None]
    )
    pixels = np.clip(slopes + rng.normal(0, 12, (height, width, 1)), 0, 255).astype(np.uint8)
    out = io.BytesIO()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    turned = exif.tobytes() if orientation != 1 else b""
    Image.fromarray(pixels).save(out, "JPEG", quality=quality, comment=comment.encode(), exif=turned)
    return out.getvalue()


def looks_like(stored: bytes, original: bytes) -> bool:
    """Tell whether two JPEGs show the same picture, by their colours in a coarse grid."""
    grids = [
        np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((8, 8), Image.Resampling.BOX), dtype=float)
        for data in (stored, original)
    ]
    return float(np.abs(grids[0] - grids[1]).mean()) < 6
