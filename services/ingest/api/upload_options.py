"""The form fields of an upload beside its file and its webhook: how to read the file, and how to compress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from fastapi import Depends, Form

from imagepress.documents import Options

WIDEST: Final = 65_500  # the most pixels in a line of a JPEG that every decoder takes (libjpeg's own limit)


@dataclass(frozen=True, slots=True)
class UploadOptions:
    """What the client wishes: `compression` goes into the request, `encoding` and `skip` only tell how to read."""

    compression: Options
    encoding: str | None
    skip: bool


def upload_options(
    quality: Annotated[int, Form(ge=1, le=95, description="Quality of the compressed images")] = 50,
    format_: Annotated[
        Literal["jpeg", "webp", "avif"], Form(alias="format", description="Format of the compressed images")
    ] = "jpeg",
    max_width: Annotated[
        int | None, Form(ge=1, le=WIDEST, description="Wider images are scaled down to this width in pixels")
    ] = None,
    encoding: Annotated[
        str | None,
        Form(max_length=40, description="Of a file without byte order mark; UTF-8 without it", examples=["cp1252"]),
    ] = None,
    on_error: Annotated[
        Literal["reject", "skip"],
        Form(description="A bad row refuses the whole file, or only itself: the good rows go on"),
    ] = "reject",
) -> UploadOptions:
    """Return the wishes of a form; whatever is not allowed has been answered with 422 before."""
    compression: Options = {"quality": quality, "format": format_, "max_width": max_width}
    return UploadOptions(compression, encoding or None, on_error == "skip")


Wishes = Annotated[UploadOptions, Depends(upload_options)]
