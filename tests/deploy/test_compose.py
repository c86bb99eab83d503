"""What deploy/compose.yaml promises, read as Compose reads it; that it is well formed is for `make check`."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
import yaml
from dotenv import dotenv_values

from imagepress.lifecycle import DRAIN_MARGIN_SECONDS
from imagepress.settings import CommonSettings
from services.ingest.settings import IngestSettings
from services.notifier.settings import NotifierSettings
from services.watcher.settings import WatcherSettings
from tests.support.processes import ROOT

COMPOSE: Final = ROOT / "deploy/compose.yaml"
SETTINGS: Final[dict[str, type[CommonSettings]]] = {
    "ingest": IngestSettings,
    "watcher": WatcherSettings,
    "notifier": NotifierSettings,
}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of the file, with what they inherit."""
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return loaded


def test_everything_runs_on_a_read_only_root_without_rights(services: dict[str, Any]) -> None:
    """No container may write to its image, use a capability or gain privileges; what is not built here is pinned."""
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "build" in service or re.search(r":[^:]*\d", service["image"]), f"{name} may change under its name"
        assert "privileged" not in service, name


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_exist_and_what_they_say_fits(services: dict[str, Any], name: str) -> None:
    """Every variable is a setting of that service, its end is waited for, and its spool has room for all uploads."""
    service, fields = services[name], SETTINGS[name].model_fields
    unknown = {variable for variable in service["environment"] if variable.lower() not in fields}
    assert {variable for variable in unknown if not variable.startswith("AWS_")} == set()
    drain = fields["drain_seconds"].default + DRAIN_MARGIN_SECONDS
    assert int(service["stop_grace_period"].removesuffix("s")) > drain
    [spool] = service["tmpfs"]
    found = re.fullmatch(r"/tmp:size=(\d+)m,.*", spool)
    assert found
    ingest = IngestSettings.model_fields
    uploads = ingest["concurrent_uploads"].default * ingest["max_upload_bytes"].default
    assert int(found[1]) * 1024 * 1024 >= 2 * uploads


def test_mongodb_comes_first_and_is_reached_by_the_services_only(services: dict[str, Any]) -> None:
    """Services wait for a primary; MongoDB has no port and no way out; the ingest answers to this machine only."""
    networks = yaml.safe_load(COMPOSE.read_text())["networks"]
    assert networks["database"]["internal"] is True
    assert services["mongo"]["networks"] == ["database"]
    assert [name for name, service in services.items() if "ports" in service] == ["ingest"]
    assert services["ingest"]["ports"] == ["${PUBLISH_ADDRESS:-127.0.0.1}:${INGEST_PORT:-8000}:8000"]
    for name in SETTINGS:
        assert services[name]["depends_on"] == {"mongo": {"condition": "service_healthy"}}


def test_the_object_store_is_there_when_asked_for(services: dict[str, Any]) -> None:
    """Without compose.s3.env nothing of it starts; with it, its profile is on and its variables reach the services."""
    assert services["s3"]["profiles"] == ["s3"]
    told = dotenv_values(ROOT / "deploy/compose.s3.env")
    assert told.pop("COMPOSE_PROFILES") == "s3"
    for name in ("ingest", "watcher"):
        assert told.keys() <= services[name]["environment"].keys()
    assert told["AWS_ENDPOINT"] == "http://s3:9000"
