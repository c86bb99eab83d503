"""What of kustomize our manifests use, for machines without it: no registry that CI reaches has the program.

Everything else is refused, so that nothing is checked which kustomize would render differently; where `kubectl` is on
PATH, a test compares. Names of generated ConfigMaps do not get their hash.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import jsonpatch
import yaml

Document = dict[str, Any]
Documents = list[Document]

_HEAD: Final = {"apiVersion", "kind"}


class NotSupported(Exception):
    """A kustomization uses what this renderer does not know."""


def render(folder: Path, documents: Documents | None = None) -> Documents:
    """Return the documents of the kustomization in `folder`; a component changes those given. Raises `NotSupported`."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    if unknown := kustomization.keys() - _HEAD - _STEPS.keys():
        raise NotSupported(f"{folder}: {sorted(unknown)}")
    documents = documents or []
    for key, step in _STEPS.items():  # in kustomize's order, whatever the file's
        if key in kustomization:
            documents = step(documents, kustomization[key], folder)
    return documents


def _resources(documents: Documents, names: list[str], folder: Path) -> Documents:
    for name in names:
        path = folder / name
        found = render(path) if path.is_dir() else yaml.safe_load_all(path.read_text())
        documents = [*documents, *found]
    return documents


def _generated(documents: Documents, generators: Documents, _folder: Path) -> Documents:
    for generator in generators:
        data = dict(literal.split("=", 1) for literal in generator["literals"])
        if generator.get("behavior") == "merge":
            [config_map] = [one for one in documents if _is(one, {"kind": "ConfigMap", "name": generator["name"]})]
            config_map["data"] |= data
        else:
            head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}}
            documents = [*documents, {**head, "data": data}]
    return documents


def _components(documents: Documents, names: list[str], folder: Path) -> Documents:
    for name in names:
        documents = render(folder / name, documents)
    return documents


def _patched(documents: Documents, patches: Documents, _folder: Path) -> Documents:
    for patch in patches:
        operations = jsonpatch.JsonPatch(yaml.safe_load(patch["patch"]))
        chosen = [document for document in documents if _is(document, patch["target"])]
        if not chosen:
            raise NotSupported(f"a patch without a target: {patch['target']}")
        for document in chosen:
            operations.apply(document, in_place=True)
    return documents


def _is(document: Document, target: Document) -> bool:
    names = {"kind": document["kind"], "name": document["metadata"]["name"]}
    return all(re.fullmatch(wanted, names[key]) for key, wanted in target.items())


def _in_namespace(documents: Documents, namespace: str, _folder: Path) -> Documents:
    for document in documents:
        if document["kind"] != "Namespace":
            document["metadata"]["namespace"] = namespace
    return documents


def _labelled(documents: Documents, labels: Documents, _folder: Path) -> Documents:
    for document in documents:
        for entry in labels:
            template = document.get("spec", {}).get("template") if entry.get("includeTemplates") else None
            for labelled in filter(None, (document, template)):
                metadata = labelled["metadata"]
                metadata["labels"] = metadata.get("labels", {}) | entry["pairs"]
    return documents


def _images(documents: Documents, images: Documents, _folder: Path) -> Documents:
    named = {image["name"]: f"{image.get('newName', image['name'])}:{image['newTag']}" for image in images}
    for document in documents:
        for container in document.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
            container["image"] = named.get(container["image"], container["image"])
    return documents


_STEPS: Final[dict[str, Callable[[Documents, Any, Path], Documents]]] = {
    "resources": _resources,
    "configMapGenerator": _generated,
    "components": _components,
    "patches": _patched,
    "namespace": _in_namespace,
    "labels": _labelled,
    "images": _images,
}
