"""`POST /api/sign-in`, `/api/sign-out`: a key is shown once, and a cookie stands for it in this browser."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from fastapi import APIRouter, Body
from pydantic import BaseModel, Field
from starlette.responses import Response

from services.ingest.api.deps import Service
from services.ingest.problems import ProblemError, documented
from services.ingest.sessions import COOKIE

router = APIRouter(tags=["sign-in"])


class Key(BaseModel):
    """A key to sign in with."""

    key: str = Field(max_length=512, examples=["2f7c9a51d0e84b6f9c3d"])


class _Attributes(TypedDict):
    httponly: bool
    samesite: Literal["strict"]
    secure: bool


@router.post(
    "/api/sign-in",
    operation_id="sign_in",
    summary="Show a key once, and be known by a cookie",
    status_code=204,
    responses=documented(400, 401, 408, 413, 422, 429),
)
async def sign_in(service: Service, key: Annotated[Key, Body()]) -> Response:
    """Set a cookie that no script can read and no other site can send; a service without keys asks for none."""
    answer = Response(status_code=204)
    if service.settings.api_keys:
        cookie = service.sessions.opened(key.key)
        if cookie is None:
            raise ProblemError(401, "this key is not known")
        answer.set_cookie(COOKIE, cookie, max_age=int(service.sessions.seconds), **_attributes(service))
    return answer


@router.post("/api/sign-out", operation_id="sign_out", summary="Take the cookie back", status_code=204)
async def sign_out(service: Service) -> Response:
    """Have the browser forget the cookie."""
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, **_attributes(service))
    return answer


def _attributes(service: Service) -> _Attributes:
    return {"httponly": True, "samesite": "strict", "secure": service.links.base_url.startswith("https://")}
