"""The sample catalogue: every photograph once, in all the shapes that the contract allows, and one that is missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Catalogue:
    """A CSV, and the rows it must be read as: image URLs by product, in order. `missing` is the URL that fails."""

    path: Path
    rows: list[tuple[int, str, list[str]]]
    missing: str

    @property
    def urls(self) -> list[str]:
        """All image URLs in order."""
        return [url for _, _, urls in self.rows for url in urls]


def write(path: Path, origin: str) -> Catalogue:
    """Write the catalogue for photographs at `origin`."""

    def at(*names: str) -> list[str]:
        return [f"{origin}/{name}" for name in names]

    missing = f"{origin}/sold-out.jpg"
    commas = f"{origin}/sized/w_600,h_400,c_fill/coffee.jpg"
    rows = [
        (1, "Space", [*at("astronaut.jpg", "rocket.jpg", "hubble_deep_field.jpg")]),
        (2, "Ground, as tiles", at("brick.jpg", "grass.jpg", "gravel.jpg")),
        (3, "Café", [commas]),
        (4, "Laboratory", at("cell.jpg", "ihc.jpg", "retina.jpg")),
        (5, "Antiques", [*at("coins.jpg"), missing]),
        (5, "Animals & people", at("chelsea.png", "camera.jpg")),
    ]
    space, ground, cafe, laboratory, antiques, animals = (urls for _, _, urls in rows)
    lines = [
        "s no , PRODUCT NAME, input-image-urls",  # headers are matched ignoring case, spaces and punctuation
        f"1,Space,{', '.join(space)}",  # columns beyond the third, with spaces
        f'2,"Ground, as tiles","{",".join(ground)}"',  # one quoted cell with several URLs
        f'3,Café,"{cafe[0]}"',  # commas inside a URL
        f'4,Laboratory,"{laboratory[0]}, {laboratory[1]}",{laboratory[2]},,',  # both, and empty cells at the end
        "",
        f"5,Antiques,{', '.join(antiques)}",  # one image that is not there
        f" 5 , Animals & people ,{','.join(animals)}",  # a serial number that repeats, spaces around
    ]
    path.write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n").encode())  # as a spreadsheet writes it: BOM, CRLF
    return Catalogue(path, rows, missing)
