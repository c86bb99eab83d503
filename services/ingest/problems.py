"""Errors as `application/problem+json` (RFC 9457); the one place that maps errors to HTTP statuses."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from imagepress import logs
from imagepress.blobs import BlobNotFound
from imagepress.errors import ConflictError, ImagepressError, TransientError

log = logs.get(__name__)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 5


class ProblemEntry(BaseModel):
    """One of several problems: where it is, and what is wrong."""

    line: int | None = Field(description="Line of the file, from 1, where there is one", examples=[3])
    field: str = Field(description="Column or parameter", examples=["Input Image Urls"])
    message: str = Field(description="What is wrong, and what to do", examples=["the URL has no host"])


class Problem(BaseModel):
    """An error, RFC 9457."""

    type: str = Field("about:blank", description="Kind of problem; about:blank says that the status tells it all")
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["the file has 2 problems"])
    errors: list[ProblemEntry] | None = Field(None, description="The problems, where there are several")


class ProblemError(Exception):
    """An answer other than 2xx, raised where it is found out."""

    def __init__(
        self, status: int, detail: str, errors: Sequence[ProblemEntry] = (), headers: dict[str, str] | None = None
    ) -> None:
        """Answer with `status`, a sentence and, where there are several, the problems."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = list(errors)
        self.headers = headers


def answer(
    status: int, detail: str, errors: Sequence[ProblemEntry] = (), headers: dict[str, str] | None = None
) -> JSONResponse:
    """Return the response that says so."""
    problem = Problem(
        type="about:blank", title=_title(status), status=status, detail=detail, errors=list(errors) or None
    )
    body = problem.model_dump()
    if not errors:
        del body["errors"]
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of an operation for OpenAPI: each of `statuses` answers with a problem."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {status: {"description": _title(status), "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses}


def install(app: FastAPI) -> None:
    """Make `app` answer every error with a problem document."""

    @app.exception_handler(ProblemError)
    async def _problem(_request: Request, error: ProblemError) -> JSONResponse:
        return answer(error.status, error.detail, error.errors, error.headers)

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: HTTPException) -> JSONResponse:
        return answer(error.status_code, str(error.detail), headers=dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def _validation(_request: Request, error: RequestValidationError) -> JSONResponse:
        entries = [
            ProblemEntry(line=None, field=".".join(map(str, found["loc"][1:])) or "body", message=found["msg"])
            for found in error.errors()
        ]
        return answer(422, f"the request has {_count(len(entries), 'problem')}", entries)

    @app.exception_handler(ImagepressError)
    async def _ours(_request: Request, error: ImagepressError) -> JSONResponse:
        return of_error(error)

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("unexpected error", path=request.url.path, exc_info=error)
        return answer(500, "something went wrong on our side; it has been logged")


def of_error(error: ImagepressError) -> JSONResponse:
    """Return the answer that stands for one of our own errors."""
    if isinstance(error, BlobNotFound):
        return answer(404, str(error))
    if isinstance(error, ConflictError):
        return answer(409, str(error))
    if isinstance(error, TransientError):
        log.warning("answering 503", problem=str(error))
        detail = "a part of the service cannot be reached right now; nothing was stored, please try again"
        return answer(503, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
    log.error("unexpected error", exc_info=error)
    return answer(500, "something went wrong on our side; it has been logged")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
