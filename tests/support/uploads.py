"""Requests and batches put into the database as an upload does it, without HTTP."""

from __future__ import annotations

import io
import uuid

from imagepress.mongo import Database
from services.ingest import accepting
from services.ingest.queries import Upload
from services.ingest.settings import IngestSettings

HEADER = "S. No.,Product Name,Input Image Urls\n"


def csv_of(urls: list[str]) -> bytes:
    """Return a CSV with one row for each URL."""
    return (HEADER + "".join(f"{n},SKU{n},{url}\n" for n, url in enumerate(urls, start=1))).encode()


def upload_of(urls: list[str], *, webhook_url: str | None = None) -> Upload:
    """Return what the API makes of a CSV with these URLs."""
    return Upload(
        request_id=str(uuid.uuid4()),
        filename="test.csv",
        rows=len(urls),
        images=len(urls),
        options={"quality": 50, "format": "jpeg", "max_width": None},
        webhook_url=webhook_url,
    )


async def accepted(
    database: Database, settings: IngestSettings, urls: list[str], *, webhook_url: str | None = None
) -> str:
    """Store a request for `urls`, released; return its id."""
    upload = upload_of(urls, webhook_url=webhook_url)
    await accepting.accept(database, upload, io.BytesIO(csv_of(urls)), settings)
    return upload.request_id
