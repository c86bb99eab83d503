"""What clients see of the documents: pure functions from documents to JSON-ready values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from imagepress.documents import BatchStatus, ImageStatus
from imagepress.errors import ImageErrorCode
from imagepress.links import Links

Document = dict[str, Any]


def summary(request: Document, links: Links) -> Document:
    """Return a request as its status shows it, without the rows."""
    view: Document = {
        "request_id": request["_id"],
        "status": request["status"],
        "created_at": _moment(request.get("created_at")),
        "started_at": _moment(request.get("started_at")),
        "ended_at": _moment(request.get("ended_at")),
        "images": request["images"],
        "bytes": request["bytes"],
        "links": {"result_csv": links.result_csv(request["_id"]), "images_zip": links.images_zip(request["_id"])},
    }
    if webhook := request.get("webhook"):
        view["webhook"] = {
            "state": webhook["state"],
            "tries": webhook["tries"],
            "next_attempt_at": _moment(webhook.get("next_attempt_at")),
        }
    return view


def _moment(value: datetime | None) -> str | None:
    return value.isoformat().replace("+00:00", "Z") if value else None


async def whole_rows(batches: AsyncIterator[Document]) -> AsyncIterator[Document]:
    """Yield rows as they stood in the file: the parts of a long row, in successive batches, are put together again."""
    row: Document | None = None
    async for batch in batches:
        cancelled = batch["status"] == BatchStatus.CANCELLED
        for part in batch["rows"]:
            images = [_cancelled(image) for image in part["images"]] if cancelled else part["images"]
            if row is not None and row["row"] == part["row"]:
                row["images"].extend(images)
                continue
            if row is not None:
                yield row
            row = {**part, "images": list(images)}
    if row is not None:
        yield row


def _cancelled(image: Document) -> Document:
    """Return an image of a cancelled batch: without an outcome it has failed as cancelled."""
    if "status" in image:
        return image
    error = {"code": ImageErrorCode.CANCELLED, "message": "the request was cancelled before this image was done"}
    return {**image, "status": ImageStatus.FAILED, "error": error}


def row_view(row: Document, links: Links) -> Document:
    """Return a row as the status shows it; `output_image_urls` has an entry, or null, for each input URL."""
    images = row["images"]
    return {
        "serial_number": row["serial_number"],
        "product_name": row["product_name"],
        "input_image_urls": [image["url"] for image in images],
        "output_image_urls": [output_url(image, links) for image in images],
        "errors": [{"url": image["url"], **image["error"]} for image in images if "error" in image],
        "images": [_sizes(image) for image in images if image.get("status") == ImageStatus.SUCCEEDED],
    }


def output_url(image: Document, links: Links) -> str | None:
    """Return the link to a stored image, None where there is none."""
    return links.image(image["blob"]) if "blob" in image else None


def _sizes(image: Document) -> Document:
    return {name: image[name] for name in ("url", "bytes_in", "bytes_out", "kept_original")}
