"""`POST /api/upload`: a CSV comes in, a request id goes out."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import asdict, replace
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, File, Form, Header, UploadFile
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from imagepress import logs, metrics, tracing
from imagepress.addresses import refusal_of_url
from services.ingest import accepting, csv_rows, idempotency
from services.ingest.api.deps import Asking, Service
from services.ingest.api.examples import CSV, REQUEST_ID
from services.ingest.api.upload_options import UploadOptions, Wishes
from services.ingest.idempotency import Key
from services.ingest.problems import ProblemEntry, ProblemError, documented
from services.ingest.queries import Upload

log = logs.get(__name__)
router = APIRouter(tags=["uploads"])

for _outcome in ("accepted", "refused"):
    metrics.uploads.labels(_outcome)

LONGEST_URL = 2048

WebhookUrl = Annotated[
    str | None, Form(description="Called when all is done", examples=["https://shop.example/hooks/imagepress"])
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[!-~]{1,255}$",
        description="Made by the client for this upload; with the same one it can be repeated for a day",
        examples=["5f3c01c2a1b0d9e8"],
    ),
]


class Skipped(BaseModel):
    """Bad rows that `on_error=skip` left out."""

    count: int = Field(description="Rows that were left out", examples=[1])
    problems: list[ProblemEntry] = Field(description="What is wrong with them: the first 100 problems")


class Accepted(BaseModel):
    """An upload that will be finished, whatever happens."""

    request_id: str = Field(examples=[REQUEST_ID])
    status: str = Field(examples=["pending"])
    skipped: Skipped | None = Field(None, description="Only with `on_error=skip`")


@router.post(
    "/api/upload",
    operation_id="upload",
    summary="Upload a CSV of products and image URLs",
    response_model=Accepted,
    responses=documented(400, 408, 409, 413, 422, 503),
)
async def upload(
    service: Service,
    asking: Asking,
    wishes: Wishes,
    file: Annotated[UploadFile, File(description="The CSV: `S. No.,Product Name,Input Image Urls`", examples=[CSV])],
    webhook_url: WebhookUrl = None,
    idempotency_key: IdempotencyKey = None,
    traceparent: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Any:
    """Check the whole file, store its rows, answer at once; the images are fetched and compressed in the background.

    All or nothing: a file with a bad line is refused with the first 100 problems, and nothing of it is stored; unless
    `on_error=skip` asks for its good rows. A file without a good row is always refused.
    """
    url = _checked_webhook(webhook_url, service)
    async with service.reading:
        checked = await accepting.check(file.file, max_images=service.settings.max_images, encoding=wishes.encoding)
        _refuse_bad(checked, skip=wishes.skip)
        wanted = Upload(
            request_id=str(uuid.uuid4()),
            filename=(file.filename or "")[:255].encode("utf-8", "replace").decode(),
            rows=checked.rows,
            images=checked.images,
            options=wishes.compression,
            webhook_url=url,
            client=asking.client,
        )
        key = await _key(idempotency_key, wanted, wishes, file.file) if idempotency_key else None
        with tracing.span("upload", parent=traceparent, request_id=wanted.request_id, images=wanted.images):
            request_id = await accepting.accept(
                service.database,
                replace(wanted, traceparent=tracing.carrier().get("traceparent")),
                file.file,
                service.settings,
                encoding=wishes.encoding,
                skip=wishes.skip,
                key=key,
            )
    is_new = request_id == wanted.request_id
    metrics.uploads.labels("accepted" if is_new else "repeated").inc()
    log.info("upload accepted", request_id=request_id, rows=wanted.rows, images=wanted.images, repeated=not is_new)
    body = Accepted(request_id=request_id, status="pending", skipped=_skipped(checked) if wishes.skip else None)
    headers = {"Location": service.links.status(request_id)}
    return JSONResponse(body.model_dump(exclude_none=not wishes.skip), headers=headers)


async def _key(key: str, upload: Upload, wishes: UploadOptions, file: BinaryIO) -> Key:
    """Return the key of an upload, which belongs to everything that the client has sent with it."""
    sent = {**asdict(wishes), "filename": upload.filename, "webhook_url": upload.webhook_url}
    return await asyncio.to_thread(idempotency.key_of, upload.client, key, file, sent)


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
