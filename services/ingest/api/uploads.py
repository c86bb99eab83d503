"""`POST /api/upload`: a CSV comes in, a request id goes out."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, UploadFile
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from imagepress import logs, metrics
from imagepress.addresses import refusal_of_url
from services.ingest import accepting, csv_rows
from services.ingest.api.deps import Service
from services.ingest.problems import ProblemEntry, ProblemError, documented
from services.ingest.queries import Upload

log = logs.get(__name__)
router = APIRouter(tags=["uploads"])

LONGEST_URL = 2048


class Accepted(BaseModel):
    """An upload that will be finished, whatever happens."""

    request_id: str = Field(examples=["6f1c1f0a-6f3e-4e0e-9a59-0d8f7f0f4b57"])
    status: str = Field(examples=["pending"])


@router.post(
    "/api/upload",
    operation_id="upload",
    summary="Upload a CSV of products and image URLs",
    response_model=Accepted,
    responses=documented(408, 413, 422, 503),
)
async def upload(
    service: Service,
    file: Annotated[UploadFile, File(description="The CSV: `S. No.,Product Name,Input Image Urls`")],
    webhook_url: Annotated[
        str | None, Form(description="Called when all is done", examples=["https://shop.example/hooks/imagepress"])
    ] = None,
) -> Any:
    """Check the whole file, store its rows, answer at once; the images are fetched and compressed in the background.

    All or nothing: a file with a bad line is refused with the first 100 problems, and nothing of it is stored.
    """
    url = _checked_webhook(webhook_url, service)
    async with service.reading:
        checked = await accepting.check(file.file, max_images=service.settings.max_images)
        if checked.problem_count:
            metrics.uploads.labels("refused").inc()
            raise ProblemError(422, _summary(checked), [_entry(problem) for problem in checked.problems])
        accepted = Upload(
            request_id=str(uuid.uuid4()),
            filename=(file.filename or "")[:255].encode("utf-8", "replace").decode(),
            rows=checked.rows,
            images=checked.images,
            options={"quality": 50, "format": "jpeg", "max_width": None},
            webhook_url=url,
        )
        await accepting.accept(service.database, accepted, file.file, service.settings)
    metrics.uploads.labels("accepted").inc()
    log.info("upload accepted", request_id=accepted.request_id, rows=accepted.rows, images=accepted.images)
    location = f"{service.settings.base_url}/api/status?request_id={accepted.request_id}"
    return JSONResponse({"request_id": accepted.request_id, "status": "pending"}, headers={"Location": location})


def _checked_webhook(webhook_url: str | None, service: Service) -> str | None:
    url = (webhook_url or "").strip()
    if not url:
        return None
    if len(url) > LONGEST_URL:
        refusal: str | None = f"a URL has at most {LONGEST_URL:,} characters"
    else:
        refusal = refusal_of_url(url, service.settings.address_policy)
    if refusal:
        metrics.uploads.labels("refused").inc()
        raise ProblemError(422, "the webhook URL cannot be used", [_named("webhook_url", refusal)])
    return url


def _named(field: str, message: str) -> ProblemEntry:
    return ProblemEntry(line=None, field=field, message=message)


def _entry(problem: csv_rows.Problem) -> ProblemEntry:
    return ProblemEntry(line=problem.line or None, field=problem.field, message=problem.message)


def _summary(checked: csv_rows.Checked) -> str:
    count = checked.problem_count
    listed = len(checked.problems)
    more = f"; the first {listed} are listed" if count > listed else ""
    return f"the file has {count:,} {'problem' if count == 1 else 'problems'}, and nothing was stored{more}"
