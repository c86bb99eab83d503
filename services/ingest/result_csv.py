"""The result of a request as CSV: the rows, `Output Image Urls` and `Errors`, safe to open in a spreadsheet.

Cells that a spreadsheet would take for a formula are neutralised as OWASP says
(https://owasp.org/www-community/attacks/CSV_Injection): every cell is quoted, quotes are doubled, and a cell that
begins with a dangerous character gets an apostrophe before it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from typing import Any, Final

from imagepress.links import Links
from services.ingest import views
from services.ingest.csv_header import COLUMNS

HEADER: Final = (*COLUMNS, "Output Image Urls", "Errors")

# The last four are the full-width forms of the first, which some spreadsheets read as those.
_DANGEROUS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

# A byte order mark: without it spreadsheets take UTF-8 for the code page of their country.
_MARK: Final = "\ufeff"

_ROWS_TO_A_PIECE: Final = 100


async def text(rows: AsyncIterator[dict[str, Any]], links: Links) -> AsyncIterator[bytes]:
    """Yield the CSV in pieces of 100 rows, in UTF-8 with a byte order mark and lines that end as RFC 4180 says."""
    piece = io.StringIO(newline="")
    piece.write(_MARK)
    writer = csv.writer(piece, quoting=csv.QUOTE_ALL)
    writer.writerow(HEADER)
    written = 0
    async for row in rows:
        writer.writerow(cells(views.row_view(row, links)))
        written += 1
        if written % _ROWS_TO_A_PIECE == 0:
            yield piece.getvalue().encode()
            piece.seek(0)
            piece.truncate()
    yield piece.getvalue().encode()


def cells(row: dict[str, Any]) -> list[str]:
    """Return the cells of a row as the status shows it; a failed image leaves its place among the outputs empty."""
    values = (
        str(row["serial_number"]),
        row["product_name"],
        ",".join(row["input_image_urls"]),
        ",".join(url or "" for url in row["output_image_urls"]),
        "; ".join(f"{error['url']} {error['code']}: {error['message']}" for error in row["errors"]),
    )
    return [safe(value) for value in values]


def safe(value: str) -> str:
    """Return `value` so that no spreadsheet takes it for a formula; spaces before one do not hide it."""
    return f"'{value}" if value.lstrip(" ").startswith(_DANGEROUS) else value
