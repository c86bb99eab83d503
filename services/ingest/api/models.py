"""What the API answers, as its documentation says it. The answers are written by `views`, and checked against these."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from imagepress.documents import RequestStatus, WebhookState
from services.ingest.api.examples import REQUEST_ID


class Images(BaseModel):
    """How many images there are, and how many have ended how."""

    total: int = Field(ge=0, examples=[2])
    succeeded: int = Field(ge=0, examples=[1])
    failed: int = Field(ge=0, examples=[1])


class Bytes(BaseModel):
    """Bytes fetched and stored, of the images that succeeded."""

    input: int = Field(ge=0, examples=[512_000])
    output: int = Field(ge=0, examples=[96_000])


class RequestLinks(BaseModel):
    """Where what came of a request is fetched; signed, and good for some days, where the service asks for keys."""

    result_csv: str
    images_zip: str


class Webhook(BaseModel):
    """The webhook of the request's current run."""

    state: WebhookState
    tries: int = Field(ge=0, examples=[1])
    next_attempt_at: datetime | None


class Request(BaseModel):
    """A request without its rows. Counts move about once a second while images finish."""

    request_id: str = Field(examples=[REQUEST_ID])
    status: RequestStatus
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    images: Images
    bytes: Bytes
    links: RequestLinks
    webhook: Webhook | None = Field(None, description="Only with a `webhook_url`")


class Failure(BaseModel):
    """Why an image failed."""

    url: str
    code: str = Field(description="Such as timeout, http_404, not_an_image", examples=["http_404"])
    message: str


class Sizes(BaseModel):
    """What compressing an image has done. `kept_original`: it could not be made smaller, and was kept."""

    url: str
    bytes_in: int = Field(ge=0)
    bytes_out: int = Field(ge=0)
    kept_original: bool


class Row(BaseModel):
    """A row of the CSV and what came of it."""

    serial_number: int
    product_name: str
    input_image_urls: list[str]
    output_image_urls: list[str | None] = Field(description="One for each input URL; null where there is none (yet)")
    errors: list[Failure]
    images: list[Sizes]


class Status(Request):
    """A request with its rows, in the order of the CSV."""

    details: list[Row]


class Page(BaseModel):
    """A page of the list of requests, newest first."""

    requests: list[Request]
    next: str | None = Field(description="The cursor of the next page; null on the last one")
