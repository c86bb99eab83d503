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
from services.ingest.api.upload_options import Wishes
from services.ingest.problems import ProblemEntry, ProblemError, documented
from services.ingest.queries import Upload

log = logs.get(__name__)
router = APIRouter(tags=["uploads"])

for _outcome in ("accepted", "refused"):
    metrics.uploads.labels(_outcome)

LONGEST_URL = 2048


class Skipped(BaseModel):
    """Bad rows that `on_error=skip` left out."""

    count: int = Field(description="Rows that were left out", examples=[1])
    problems: list[ProblemEntry] = Field(description="What is wrong with them: the first 100 problems")


class Accepted(BaseModel):
    """An upload that will be finished, whatever happens."""

    request_id: str = Field(examples=["6f1c1f0a-6f3e-4e0e-9a59-0d8f7f0f4b57"])
    status: str = Field(examples=["pending"])
    skipped: Skipped | None = Field(None, description="Only with `on_error=skip`")


@router.post(
    "/api/upload",
    operation_id="upload",
    summary="Upload a CSV of products and image URLs",
    response_model=Accepted,
    responses=documented(408, 413, 422, 503),
)
async def upload(
    service: Service,
    wishes: Wishes,
    file: Annotated[UploadFile, File(description="The CSV: `S. No.,Product Name,Input Image Urls`")],
    webhook_url: Annotated[
        str | None, Form(description="Called when all is done", examples=["https://shop.example/hooks/imagepress"])
    ] = None,
) -> Any:
    """Check the whole file, store its rows, answer at once; the images are fetched and compressed in the background.

    All or nothing: a file with a bad line is refused with the first 100 problems, and nothing of it is stored; unless
    `on_error=skip` asks for its good rows. A file without a good row is always refused.
    """
    url = _checked_webhook(webhook_url, service)
    async with service.reading:
        checked = await accepting.check(file.file, max_images=service.settings.max_images, encoding=wishes.encoding)
        _refuse_bad(checked, skip=wishes.skip)
        accepted = Upload(
            request_id=str(uuid.uuid4()),
            filename=(file.filename or "")[:255].encode("utf-8", "replace").decode(),
            rows=checked.rows,
            images=checked.images,
            options=wishes.compression,
            webhook_url=url,
        )
        await accepting.accept(
            service.database, accepted, file.file, service.settings, encoding=wishes.encoding, skip=wishes.skip
        )
    metrics.uploads.labels("accepted").inc()
    log.info("upload accepted", request_id=accepted.request_id, rows=accepted.rows, images=accepted.images)
    location = f"{service.settings.base_url}/api/status?request_id={accepted.request_id}"
    body = Accepted(
        request_id=accepted.request_id, status="pending", skipped=_skipped(checked) if wishes.skip else None
    )
    return JSONResponse(body.model_dump(exclude_none=not wishes.skip), headers={"Location": location})


def _refuse_bad(checked: csv_rows.Checked, *, skip: bool) -> None:
    """Raise 422 for a file with problems; with `skip` only where no good row would be left, or the file is at fault."""
    if checked.problem_count and (not skip or checked.refused or not checked.rows):
        metrics.uploads.labels("refused").inc()
        raise ProblemError(422, _summary(checked), [_entry(problem) for problem in checked.problems])


def _skipped(checked: csv_rows.Checked) -> Skipped:
    return Skipped(count=checked.bad_rows, problems=[_entry(problem) for problem in checked.problems])


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
