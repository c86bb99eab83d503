"""`make check`: every overlay of deploy/kubernetes against the schemas of Kubernetes, and of KEDA's own kinds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

import jsonpatch
import kubernetes_validate
from cloudcoil.models.keda import v1alpha1 as keda
from pydantic import BaseModel, ValidationError

from deploy.local.processes import ROOT
from tests.support.kustomize import render

OVERLAYS: Final = ROOT / "deploy/kubernetes/overlays"
OLDEST: Final = "1.30"
"""The oldest Kubernetes that the manifests are for: the first whose pods can sleep before they stop."""

# Made from KEDA's custom resource definitions, of which no index of schemas knows.
_KEDA: Final[dict[str, type[BaseModel]]] = {
    "ScaledObject": keda.ScaledObject,
    "TriggerAuthentication": keda.TriggerAuthentication,
}


def problems(documents: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what is wrong with each document that its schema refuses, unknown fields included."""
    for document in documents:
        if problem := _problem(document):
            yield f"{document['kind']} {document['metadata']['name']}: {problem}"


def _problem(document: dict[str, Any]) -> str | None:
    if document["apiVersion"] == "keda.sh/v1alpha1":
        return _keda_problem(document)
    try:
        kubernetes_validate.validate(document, OLDEST, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        return str(error.message)
    return None


def _keda_problem(document: dict[str, Any]) -> str | None:
    try:
        model = _KEDA[document["kind"]].model_validate(document)
    except ValidationError as error:
        return str(error)
    known = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    unknown = [change["path"] for change in jsonpatch.JsonPatch.from_diff(known, document)]
    return f"KEDA does not know {', '.join(unknown)}" if unknown else None


def main() -> int:
    """Print every problem; return the exit status."""
    overlays = sorted(path for path in OVERLAYS.iterdir() if path.is_dir())
    found = [f"{folder.relative_to(ROOT)}: {problem}" for folder in overlays for problem in problems(render(folder))]
    print("\n".join(found) or f"manifests: {len(overlays)} overlays fit Kubernetes {OLDEST} and KEDA")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
