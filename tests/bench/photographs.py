"""Sets of real photographs to work on: crops of those that Debian's mate-backgrounds brings, seeded.

Every set is made once per run of the bench. Its files are distinct; every URL is, too (`tests.bench.nginx`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from statistics import mean
from typing import Final

from PIL import Image

SOURCES: Final = Path("/usr/share/backgrounds/mate/nature")
SEED: Final = 20
QUALITIES: Final = range(60, 97, 2)
"""Among these is the one at which a set has its size: cameras and shops store photographs at such qualities."""


@dataclass(frozen=True)
class Kind:
    """What a set consists of: `files` JPEGs of `size` (width, height), of `kilobytes` on average."""

    name: str
    size: tuple[int, int]
    kilobytes: float
    files: int


ONE_MEGAPIXEL: Final = Kind("1mp", (1000, 1000), 120, 300)
SMALL: Final = Kind("small", (200, 300), 10, 600)
FOUR_MEGAPIXELS: Final = Kind("4mp", (2500, 1600), 500, 40)
"""The largest that shops commonly show: what a process needs at most is measured on these."""


@dataclass(frozen=True)
class Photographs:
    """A set in a folder."""

    kind: Kind
    files: list[Path]

    @property
    def mean_kilobytes(self) -> float:
        """How large its files are on average, in units of 1000 bytes."""
        return mean(file.stat().st_size for file in self.files) / 1000


def photographs(kind: Kind, folder: Path) -> Photographs:
    """Return the set below `folder`; made where it is not there yet. Raises `FileNotFoundError` with the remedy."""
    place = folder / kind.name
    if not place.exists():
        place.mkdir(parents=True)
        _make(kind, place)
    return Photographs(kind, sorted(place.glob("*.jpg")))


def _make(kind: Kind, place: Path) -> None:
    sources = _sources()
    rng = random.Random(f"{SEED} {kind.name}")
    crops = [_crop(rng.choice(sources), kind.size, rng) for _ in range(min(kind.files, 24))]
    # The quality is found on a sample and is the same for all files: their sizes differ as real ones do.
    quality = min(QUALITIES, key=lambda q: abs(mean(len(_jpeg(crop, q)) for crop in crops) / 1000 - kind.kilobytes))
    for n in range(kind.files):
        crop = _crop(rng.choice(sources), kind.size, rng)
        (place / f"{n:04}.jpg").write_bytes(_jpeg(crop, quality))


def _sources() -> list[Image.Image]:
    paths = sorted(SOURCES.glob("*.jpg"))
    if not paths:
        raise FileNotFoundError(f"no photographs in {SOURCES}: run deploy/local/setup_bench.sh (mate-backgrounds)")
    return [Image.open(path).convert("RGB") for path in paths]


def _crop(source: Image.Image, size: tuple[int, int], rng: random.Random) -> Image.Image:
    """Bring a part of `source` to `size`: anywhere in it, from half as large as there is room for up."""
    scale = rng.uniform(0.5, 1.0) * min(source.width / size[0], source.height / size[1])
    width, height = size[0] * scale, size[1] * scale
    left, top = rng.uniform(0, source.width - width), rng.uniform(0, source.height - height)
    box = (left, top, left + width, top + height)
    return source.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=2.0)


def _jpeg(image: Image.Image, quality: int) -> bytes:
    out = BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()
