"""What the manifests promise, in every overlay; that they fit the schemas is for `make check`."""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from imagepress.documents import BatchStatus, WebhookState
from imagepress.lifecycle import DRAIN_MARGIN_SECONDS
from imagepress.mongo import Collection, Database, server_time
from imagepress.settings import CommonSettings
from services.ingest.settings import IngestSettings
from services.notifier.settings import NotifierSettings
from services.watcher.settings import WatcherSettings
from tests.support.kustomize import render
from tests.support.manifests import OVERLAYS, problems

Document = dict[str, Any]

SETTINGS: Final[dict[str, type[CommonSettings]]] = {
    "ingest": IngestSettings,
    "watcher": WatcherSettings,
    "notifier": NotifierSettings,
}
NAMES: Final = sorted(path.name for path in OVERLAYS.iterdir() if path.is_dir())


@cache
def _overlay(name: str) -> list[Document]:
    return render(OVERLAYS / name)


def _of_kind(name: str, kind: str) -> dict[str, Document]:
    """Return the documents of a kind, by what stands behind `imagepress-` in their names."""
    found = [document for document in _overlay(name) if document["kind"] == kind]
    return {document["metadata"]["name"].removeprefix("imagepress-"): document for document in found}


def _pod(overlay: str, service: str) -> Document:
    spec: Document = _of_kind(overlay, "Deployment")[service]["spec"]["template"]["spec"]
    return spec


def _settings(overlay: str) -> dict[str, str]:
    data: dict[str, str] = _of_kind(overlay, "ConfigMap")["settings"]["data"]
    return data


def _kustomized(folder: Path) -> list[Document]:
    """Render with the real kustomize; without the hashes of generated names, which ours leaves out."""
    command = ["kubectl", "kustomize", str(folder)]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return list(yaml.safe_load_all(re.sub(r"\b(imagepress-settings)-[a-z0-9]{10}\b", r"\1", text)))


RENDERERS: Final[dict[str, Callable[[Path], list[Document]]]] = {"twice": render} | (
    {"kubectl": _kustomized} if shutil.which("kubectl") else {}
)


@pytest.mark.parametrize("other", RENDERERS)
@pytest.mark.parametrize("overlay", NAMES)
def test_the_renderer_of_the_tests_says_what_kustomize_does(overlay: str, other: str) -> None:
    """The same documents, in whatever order, as the real kustomize makes of it where this machine has one."""

    def listed(documents: list[Document]) -> list[str]:
        return sorted(json.dumps(document, sort_keys=True) for document in documents)

    assert listed(render(OVERLAYS / overlay)) == listed(RENDERERS[other](OVERLAYS / overlay))


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ("spec", "replicsa"), 2),
        ("Deployment", ("spec", "minReadySeconds"), "five"),
        ("ScaledObject", ("spec", "maxReplicaCuont"), 2),
        ("ScaledObject", ("spec", "pollingInterval"), "often"),
        ("ScaledObject", ("spec", "triggers"), {"type": "mongodb"}),
        ("TriggerAuthentication", ("spec", "secretTargetReff"), []),
        (
            "TriggerAuthentication",
            ("spec", "secretTargetRef"),
            [{"parameter": "connectionString", "name": "imagepress"}],
        ),
    ],
)
def test_the_check_finds_what_a_cluster_would_refuse(kind: str, path: tuple[str, str], value: object) -> None:
    """A misspelt field and a wrong type are named, in Kubernetes' kinds and in KEDA's."""
    documents = render(OVERLAYS / "atlas-s3")
    assert list(problems(documents)) == []
    broken = next(document for document in documents if document["kind"] == kind)
    broken[path[0]][path[1]] = value
    [problem] = problems(documents)
    assert path[1] in problem
    assert broken["metadata"]["name"] in problem


@pytest.mark.parametrize("service", SETTINGS)
@pytest.mark.parametrize("overlay", NAMES)
def test_a_pod_may_do_nothing_that_it_need_not(overlay: str, service: str) -> None:
    """Not root, no capabilities, a read-only root, no token, limits for memory and disk."""
    pod = _pod(overlay, service)
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert _of_kind(overlay, "ServiceAccount")[service]["automountServiceAccountToken"] is False
    assert container["resources"]["limits"].keys() == {"memory", "ephemeral-storage"}
    assert not any(document["kind"] in ("Role", "RoleBinding", "ClusterRole") for document in _overlay(overlay))


@pytest.mark.parametrize("service", SETTINGS)
@pytest.mark.parametrize("overlay", NAMES)
def test_a_pod_gets_settings_that_exist_and_nothing_that_looks_like_one(overlay: str, service: str) -> None:
    """Every variable is a setting of some service, or of the object store; Services put none into the environment."""
    pod = _pod(overlay, service)
    [container] = pod["containers"]
    assert pod["enableServiceLinks"] is False
    assert {variable["name"].lower() for variable in container["env"]} <= SETTINGS[service].model_fields.keys()
    known = set().union(*(settings.model_fields for settings in SETTINGS.values()))
    shared = {name.lower() for name in _settings(overlay) if not name.startswith("AWS_")}
    assert shared <= known
    secret = [variable["valueFrom"]["secretKeyRef"] for variable in container["env"] if "valueFrom" in variable]
    assert {reference["name"] for reference in secret} == {"imagepress"}


@pytest.mark.parametrize("service", SETTINGS)
@pytest.mark.parametrize("overlay", NAMES)
def test_a_pod_has_the_time_to_end_in_order(overlay: str, service: str) -> None:
    """The grace period is longer than the preStop hook, DRAIN_SECONDS and the margin behind it, together."""
    pod = _pod(overlay, service)
    [container] = pod["containers"]
    before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    drain = float(_settings(overlay)["DRAIN_SECONDS"]) + DRAIN_MARGIN_SECONDS
    assert pod["terminationGracePeriodSeconds"] > before + drain
    assert (before > 0) == (service == "ingest"), "only who is sent requests has to wait until nobody sends any"


@pytest.mark.parametrize("service", SETTINGS)
@pytest.mark.parametrize("overlay", NAMES)
def test_probes_ask_what_they_are_for(overlay: str, service: str) -> None:
    """Liveness asks for the process alone, readiness for what it stands on; a slow start kills nobody."""
    [container] = _pod(overlay, service)["containers"]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] >= 60
    assert container["ports"] == [{"name": "http", "containerPort": container["ports"][0]["containerPort"]}]


@pytest.mark.parametrize("service", SETTINGS)
@pytest.mark.parametrize("overlay", NAMES)
def test_a_drain_of_a_node_leaves_others_running(overlay: str, service: str) -> None:
    """Each deployment has a disruption budget that selects its pods, and an update never takes all of them."""
    deployment = _of_kind(overlay, "Deployment")[service]["spec"]
    budget = _of_kind(overlay, "PodDisruptionBudget")[service]["spec"]
    assert budget == {"maxUnavailable": 1, "selector": deployment["selector"]}
    assert deployment["selector"]["matchLabels"].items() <= deployment["template"]["metadata"]["labels"].items()
    assert deployment["strategy"]["rollingUpdate"]["maxSurge"] == 1


FORBIDDEN: Final = (
    "10.1.2.3 172.20.0.1 192.168.1.1 169.254.169.254 100.100.100.200 127.0.0.1 168.63.129.16 fd00::1 fe80::1"
)
ALLOWED: Final = "1.1.1.1 93.184.215.14 2606:4700:4700::1111"


@pytest.mark.parametrize("overlay", NAMES)
@pytest.mark.parametrize(
    ("address", "reached"), [(a, False) for a in FORBIDDEN.split()] + [(a, True) for a in ALLOWED.split()]
)
def test_pods_reach_the_internet_and_nothing_of_the_cluster(overlay: str, address: str, reached: bool) -> None:
    """Private, link-local and metadata addresses are in no block of any policy; public ones are."""
    policies = _of_kind(overlay, "NetworkPolicy")
    assert policies["nothing-by-default"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    rules = [rule for policy in policies.values() for rule in policy["spec"].get("egress", ())]
    blocks = [peer["ipBlock"] for rule in rules for peer in rule["to"] if "ipBlock" in peer]
    assert any(_is_in(block, address) for block in blocks) is reached
    [names] = [peer for rule in rules for peer in rule["to"] if "ipBlock" not in peer]
    assert names["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}


def _is_in(block: Document, address: str) -> bool:
    one = ipaddress.ip_address(address)
    return one in ipaddress.ip_network(block["cidr"]) and not any(
        one in ipaddress.ip_network(network) for network in block["except"]
    )


def _trigger(service: str) -> Document:
    [trigger] = _of_kind("atlas-s3", "ScaledObject")[service]["spec"]["triggers"]
    metadata: Document = trigger["metadata"]
    return metadata


@pytest.mark.parametrize("service", ["watcher", "notifier"])
def test_scaling_counts_in_the_database_of_the_services(service: str) -> None:
    """Database and collection are those of the settings, and what scales has no number of replicas of its own."""
    settings, trigger = _settings("atlas-s3"), _trigger(service)
    assert trigger["dbName"] == settings["DATABASE_NAME"]
    suffix = "_batches" if service == "watcher" else ""
    assert trigger["collection"] == settings["COLLECTION_NAME"] + suffix
    assert "replicas" not in _of_kind("atlas-s3", "Deployment")[service]["spec"]


async def test_watchers_scale_by_pending_batches(database: Database) -> None:
    """Only pending batches count, and they are counted in the index that claims use."""
    statuses = [BatchStatus.PENDING] * 3 + [BatchStatus.STAGED, BatchStatus.PROCESSING, BatchStatus.COMPLETED]
    await database.batches.insert_many(
        [{"_id": str(n), "status": status, "turn": 1_000_000 + n} for n, status in enumerate(statuses)]
    )
    assert await _counted(database.batches, _trigger("watcher")["query"]) == (3, "claim")


async def test_notifiers_scale_by_due_webhooks(database: Database) -> None:
    """What is due now and held by nobody counts, not what is being sent, waits for its next attempt or is done."""
    now = await server_time(database)
    hour = timedelta(hours=1)
    webhooks: list[Document] = [
        {"state": WebhookState.DUE, "next_attempt_at": now - hour},
        {"state": WebhookState.DUE, "next_attempt_at": now + hour},
        {"state": WebhookState.DUE, "next_attempt_at": now - hour, "lease": {"token": "taken"}},
        {"state": WebhookState.DELIVERED, "next_attempt_at": now - hour},
    ]
    await database.requests.insert_many([{"_id": str(n), "webhook": webhook} for n, webhook in enumerate(webhooks)])
    assert await _counted(database.requests, _trigger("notifier")["query"]) == (1, "webhook_due")


async def _counted(collection: Collection, query: str) -> tuple[int, str]:
    """Return what KEDA would count, and by which index."""
    wanted = json.loads(query)
    count = await collection.count_documents(wanted)
    plan = await collection.find(wanted).explain()
    [index] = re.findall(r"'indexName': '(\w+)'", str(plan["queryPlanner"]["winningPlan"]))
    return count, index
