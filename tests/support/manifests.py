"""`make check`: every overlay of deploy/kubernetes against the schemas of Kubernetes, and of KEDA's own kinds."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, Final

import kubernetes_validate
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from deploy.local.processes import ROOT
from tests.support.kustomize import render

OVERLAYS: Final = ROOT / "deploy/kubernetes/overlays"
OLDEST: Final = "1.30"
"""The oldest Kubernetes that the manifests are for: the first whose pods can sleep before they stop."""

_KEDA: Final = ROOT / "deploy/kubernetes/schemas"


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
    schema = _KEDA / f"{document['kind'].lower()}_v1alpha1.json"
    if not schema.exists():
        return f"{schema.name} is not among the schemas of KEDA"
    error = best_match(Draft202012Validator(json.loads(schema.read_text())).iter_errors(document))
    return f"{error.json_path}: {error.message}" if error else None


def main() -> int:
    """Print every problem; return the exit status."""
    overlays = sorted(path for path in OVERLAYS.iterdir() if path.is_dir())
    found = [f"{folder.relative_to(ROOT)}: {problem}" for folder in overlays for problem in problems(render(folder))]
    print("\n".join(found) or f"manifests: {len(overlays)} overlays fit Kubernetes {OLDEST} and KEDA")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
