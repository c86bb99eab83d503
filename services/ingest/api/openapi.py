"""What the API's documentation says of all operations alike: the schema of problems, and who may call."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

from services.ingest import problems
from services.ingest.gate import LIMITED, is_open
from services.ingest.sessions import COOKIE

_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, where the service has any"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "Of who signed in"},
}
_LINK: Final = {
    "type": "apiKey",
    "in": "query",
    "name": "signature",
    "description": "Of a link that the service has made, together with `expires`; it needs no key",
}

LINKED: Final = frozenset({"image", "result_csv", "images_zip"})
"""Operations that the service makes signed links to."""

_NULL: Final = {"type": "null"}
_METHODS: Final = frozenset({"get", "post", "put", "patch", "delete"})


def install(app: FastAPI) -> None:
    """Complete the OpenAPI document of `app`."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(generate())
        return generate()  # kept by the application from the first time on

    app.openapi = openapi  # type: ignore[method-assign]  # the documented way to extend the schema


def _complete(document: dict[str, Any]) -> None:
    problem = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    document["components"]["schemas"] |= {**problem.pop("$defs"), "Problem": problem}
    document["components"]["securitySchemes"] = {**_SCHEMES, "link": _LINK}
    for schema in document["components"]["schemas"].values():
        for name in schema.get("properties", {}).keys() - schema.get("required", []):
            _never_null(schema["properties"][name])
    for path, operations in document["paths"].items():
        for method in _METHODS & operations.keys():
            for parameter in operations[method].get("parameters", []):
                _never_null(parameter["schema"])
            _say_who_may_call(path, operations[method])


def _never_null(schema: dict[str, Any]) -> None:
    """Say of something that may be left out that it is then left out: neither a form nor a query can carry null."""
    kinds = schema.get("anyOf", [])
    if _NULL in kinds:
        kinds.remove(_NULL)
        if len(kinds) == 1:
            schema |= schema.pop("anyOf")[0]


def _say_who_may_call(path: str, operation: dict[str, Any]) -> None:
    added: tuple[int, ...] = (429,) if path in LIMITED else ()
    if not is_open(path):
        added = (401, 403, *added)
        operation["security"] = [{scheme: []} for scheme in _SCHEMES]
        if operation["operationId"] in LINKED:
            operation["security"].append({"link": []})
    documented = {str(status): response for status, response in problems.documented(*added).items()}
    operation["responses"] = documented | operation["responses"]
