"""`GET /`: the page for people, and the files that it is made of (`services/ingest/web`). No build step."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Header
from starlette.responses import Response

from services.ingest.api.deps import Service
from services.ingest.problems import ProblemError

router = APIRouter(include_in_schema=False)

_FOLDER: Final = Path(__file__).resolve().parents[1] / "web"
_KINDS: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".csv": "text/csv; charset=utf-8",
}
_POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' http: https:",  # originals for the comparison come from wherever the CSV says
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-cache",  # asked for each time, answered with 304: a new version is seen at once
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page, in memory."""

    content: bytes
    kind: str
    etag: str


def _asset(content: bytes, suffix: str) -> Asset:
    return Asset(content, _KINDS[suffix], f'"{hashlib.sha256(content).hexdigest()[:16]}"')


@cache
def assets() -> dict[str, Asset]:
    """Return the page's files by name, read once, when they are first asked for."""
    return {file.name: _asset(file.read_bytes(), file.suffix) for file in sorted(_FOLDER.iterdir())}


@cache
def _page_with_keys() -> Asset:
    return _asset(assets()["index.html"].content.replace(b"<body>", b"<body data-keys>"), ".html")


@router.api_route("/", methods=["GET", "HEAD"])
async def page(service: Service, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """Return the page; it is told whether there are keys, because nobody can sign out where there are none."""
    found = _page_with_keys() if service.settings.api_keys else assets()["index.html"]
    return _answer(found, if_none_match)


@router.api_route("/web/{name}", methods=["GET", "HEAD"])
async def asset(name: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """Return one of the files; no name leads anywhere else, because only names that are known are answered."""
    found = assets().get(name)
    if found is None or name == "index.html":
        raise ProblemError(404, f"there is no file {name}")
    return _answer(found, if_none_match)


def _answer(found: Asset, if_none_match: str | None) -> Response:
    headers = {**_HEADERS, "ETag": found.etag}
    if if_none_match and found.etag in if_none_match:
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.kind, headers=headers)
