"""`GET /compressed_images/{path}`: the stored images. A path names one content for ever, so caches may keep it."""

from __future__ import annotations

import re
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Header, Path, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from services.ingest.api.deps import Asking, Parts, Service, lookup
from services.ingest.gate import Caller
from services.ingest.problems import ProblemError, documented

router = APIRouter(tags=["images"])

_PATH: Final = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/\d{6,}-\d{2,}-[0-9a-f]{8}\.(jpg|png|webp|avif|gif)"
)
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_YEAR_SECONDS: Final = 31_536_000
_SIGNED_SECONDS: Final = 900
"""How long the store's own address of an image is good for: for a slow download, not for being passed on."""
_REDIRECT_KEPT: Final = f"private, max-age={_SIGNED_SECONDS // 2}"
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_IMAGE: Final = {kind: _BINARY for kind in ("image/jpeg", "image/png", "image/webp", "image/avif", "image/gif")}


@router.head("/compressed_images/{path:path}", include_in_schema=False)
@router.get(
    "/compressed_images/{path:path}",
    operation_id="image",
    summary="A compressed image",
    response_class=Response,
    responses={
        200: {"description": "The image", "content": _IMAGE},
        206: {"description": "The asked part of the image", "content": _IMAGE},
        304: {"description": "The image that the client has is the image"},
        307: {"description": "Where the store itself serves the image, for some minutes (REDIRECT_TO_STORAGE)"},
        **documented(404, 416, 422, 503),
    },
)
async def image(
    service: Service,
    asking: Asking,
    request: Request,
    path: Annotated[str, Path(description="As an output URL of the status has it")],
    range_: Annotated[str | None, Header(alias="Range")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
    if_range: Annotated[str | None, Header()] = None,
) -> Response:
    """Return the image, or the part of it that `Range` asks for (one range; RFC 9110, section 14)."""
    if not _PATH.fullmatch(path):
        raise ProblemError(404, f"there is no image at {path}")
    if asking.client is not None:
        await lookup(service, asking, UUID(path[:36]))
    info = await service.blobs.head(path)
    etag = f'"{path.rpartition("/")[2]}"'
    headers = {
        "ETag": etag,
        "Cache-Control": _cached(service, asking),
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
    }
    if if_none_match and _matches(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    if service.settings.redirect_to_storage and request.method == "GET":  # a HEAD is answered from what is known
        link = await service.blobs.link(path, seconds=_SIGNED_SECONDS)
        return RedirectResponse(link, 307, {"Cache-Control": _REDIRECT_KEPT})
    wanted = asked_range(range_, info.size) if range_ and if_range in (None, etag) else None
    if wanted is not None and wanted.start >= wanted.stop:
        raise ProblemError(416, f"the image has {info.size:,} bytes", headers={"Content-Range": f"bytes */{info.size}"})
    part = wanted if wanted is not None else range(info.size)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{info.size}"
    headers["Content-Length"] = str(len(part))
    return StreamingResponse(
        service.blobs.read(path, part.start, part.stop),
        status_code=200 if wanted is None else 206,
        media_type=info.content_type,
        headers=headers,
    )


def _cached(service: Parts, asking: Caller) -> str:
    """Return how an image may be cached: for ever, but by nobody else, and no longer than its link, where keys are."""
    if not service.settings.api_keys:
        return f"public, max-age={_YEAR_SECONDS}, immutable"
    left = _YEAR_SECONDS if asking.link_seconds is None else int(asking.link_seconds)
    return f"private, max-age={min(left, _YEAR_SECONDS)}, immutable"


def asked_range(header: str, size: int) -> range | None:
    """Return the bytes that a `Range` header asks for, an empty range where none can be given, None to ignore it.

    Several ranges, other units and nonsense are ignored, as RFC 9110 (section 14.2) allows.
    """
    found = _RANGE.fullmatch(header.strip())
    if not found or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:  # the last N bytes
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1 if last else size, size))


def _matches(header: str, etag: str) -> bool:
    return header.strip() == "*" or etag in {tag.strip().removeprefix("W/") for tag in header.split(",")}
