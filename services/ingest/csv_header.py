"""The header of an uploaded CSV file: it names the columns, and tells the delimiter."""

from __future__ import annotations

import re
from typing import Final

from services.ingest.csv_urls import excerpt

SERIAL_NUMBER: Final = "S. No."
PRODUCT_NAME: Final = "Product Name"
IMAGE_URLS: Final = "Input Image Urls"
COLUMNS: Final = (SERIAL_NUMBER, PRODUCT_NAME, IMAGE_URLS)

DELIMITERS: Final = ",;\t"

_QUOTED: Final = re.compile(r'"[^"]*"?')

# Spreadsheets number columns of the same name: "Input Image Urls2", "Input Image Urls.1".
_MORE_URLS: Final = re.compile(r"(?:inputimageurls[0-9]*)?")


def delimiter_of(header: str) -> str:
    """Return the delimiter that a header line uses most outside quotes; a comma where it uses none."""
    bare = _QUOTED.sub("", header)
    return max(DELIMITERS, key=bare.count)


def header_faults(cells: list[str]) -> list[str]:
    """Return what is wrong with the cells of the header, a sentence each.

    The three columns stand in the contract's order; only more image URLs may follow, with or without a name.
    """
    faults = []
    for position, column in enumerate(COLUMNS):
        found = cells[position] if position < len(cells) else ""
        if _key(found) != _key(column):
            stated = f"is {excerpt(found)}" if found.strip() else "is missing"
            faults.append(
                f"column {position + 1} must be {column}, but {stated}; the header must begin {','.join(COLUMNS)}"
            )
    unknown = next((cell for cell in cells[len(COLUMNS) :] if not _MORE_URLS.fullmatch(_key(cell))), None)
    if unknown:
        faults.append(f"there is an unknown column {excerpt(unknown)}; only {IMAGE_URLS} may follow the third column")
    return faults


def _key(name: str) -> str:
    """Return what of a header name counts: letters and digits, whatever their case."""
    return "".join(character for character in name.casefold() if character.isalnum())
