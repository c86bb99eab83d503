"""Calls of the API made from its own documentation: one for each operation, about a request that somebody owns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imagepress.settings import load
from services.ingest.app import create_app
from services.ingest.settings import IngestSettings
from tests.support.uploads import csv_of

METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Operation:
    """An operation of the API, as documented."""

    id: str
    method: str
    path: str
    document: dict[str, Any]

    def __str__(self) -> str:
        return self.id

    @property
    def names_a_request(self) -> bool:
        """Whether its path or query says which request it is about."""
        return bool({"request_id", "path"} & {parameter["name"] for parameter in self.parameters})

    @property
    def parameters(self) -> list[dict[str, Any]]:
        """What it takes beside a body."""
        found: list[dict[str, Any]] = self.document.get("parameters", [])
        return found

    def url(self, request_id: str, blob: str) -> str:
        """Return its path about this request, or about an image of it."""
        return self.path.replace("{request_id}", request_id).replace("{path}", blob)

    def query(self, request_id: str) -> dict[str, str]:
        """Return the parameters that it cannot do without."""
        values = {"request_id": request_id, "since": "2026-01-01T00:00:00Z"}
        return {each["name"]: values[each["name"]] for each in self.parameters if _is_needed(each)}

    def body(self) -> dict[str, Any]:
        """Return what it takes as body, as httpx names it."""
        content = self.document.get("requestBody", {}).get("content", {})
        if "multipart/form-data" in content:
            return {"files": {"file": ("c.csv", csv_of(["http://h.example/a"]))}}
        return {"json": {}} if content else {}


def _is_needed(parameter: dict[str, Any]) -> bool:
    return bool(parameter["in"] == "query" and parameter.get("required"))


def document() -> dict[str, Any]:
    """Return the OpenAPI document; nothing is opened for it."""
    nowhere = {"mongo_connection_string": "mongodb://127.0.0.1:1", "database_name": "d", "collection_name": "c"}
    return create_app(load(IngestSettings, _env_file=None, **nowhere)).openapi()


def operations() -> list[Operation]:
    """Return every documented operation."""
    return [
        Operation(operation["operationId"], method, path, operation)
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    ]
