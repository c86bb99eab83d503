"""Settings: every problem at once, by the variable's name, and never a value that may be a secret."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from imagepress.errors import SettingsError
from imagepress.mongo import redacted
from imagepress.settings import CommonSettings, load
from services.ingest.settings import IngestSettings
from services.notifier.settings import NotifierSettings
from services.watcher.settings import WatcherSettings

GOOD: dict[str, Any] = {
    "mongo_connection_string": "mongodb://localhost/?replicaSet=rs0",
    "database_name": "imagepress",
    "collection_name": "requests",
}
KINDS: list[type[CommonSettings]] = [IngestSettings, WatcherSettings, NotifierSettings]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing of the machine's environment into these tests."""
    for kind in KINDS:
        for name in kind.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)


def _load(kind: type[CommonSettings], **values: Any) -> CommonSettings:
    return load(kind, _env_file=None, **values)


@pytest.mark.parametrize("kind", KINDS)
def test_three_variables_are_enough(kind: type[CommonSettings]) -> None:
    """Everything but the connection string and the two names has a default."""
    assert _load(kind, **GOOD).sweep_seconds > 0


def test_all_problems_are_told_at_once_by_their_names() -> None:
    """What is missing and what is wrong comes in one message, a line each."""
    with pytest.raises(SettingsError) as caught:
        _load(IngestSettings, database_name="a b", ingest_port=70000, allowed_networks="10.0.0.0/99")
    message = str(caught.value)
    for name in ("MONGO_CONNECTION_STRING", "DATABASE_NAME", "COLLECTION_NAME", "INGEST_PORT", "ALLOWED_NETWORKS"):
        assert f"- {name}: " in message
    assert "MONGO_CONNECTION_STRING: is required" in message


def test_secrets_are_never_repeated() -> None:
    """Neither the message of an error nor the settings' own text shows a connection string."""
    secret = "postgres://user:hunter2@host/"
    with pytest.raises(SettingsError) as caught:
        _load(IngestSettings, **{**GOOD, "mongo_connection_string": secret})
    assert "hunter2" not in str(caught.value)
    good = _load(IngestSettings, **{**GOOD, "mongo_connection_string": "mongodb://user:hunter2@host/"})
    assert "hunter2" not in repr(good)


@pytest.mark.parametrize(
    ("connection_string", "shown"),
    [
        ("mongodb+srv://user:p%40ss@cluster0.example.net/?retryWrites=true", "mongodb+srv://cluster0.example.net"),
        ("mongodb://a:1,b:2/db?replicaSet=rs0", "mongodb://a:1,b:2"),
        ("mongodb://u:p@x@host", "mongodb://host"),
    ],
)
def test_a_redacted_connection_string_shows_hosts_only(connection_string: str, shown: str) -> None:
    """User, password, database and options are left out."""
    assert redacted(connection_string) == shown


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"lease_seconds": 2, "database_timeout_seconds": 5}, "LEASE_SECONDS"),
        ({"bytes_in_flight": 10, "max_image_bytes": 11}, "BYTES_IN_FLIGHT"),
    ],
)
def test_settings_that_break_a_rule_together_are_refused(values: dict[str, Any], named: str) -> None:
    """A lease shorter than what it must outlast, or a budget smaller than one image, does not start."""
    with pytest.raises(SettingsError, match=named):
        _load(WatcherSettings, **GOOD, **values)


@pytest.mark.parametrize("kind", [WatcherSettings, NotifierSettings])
def test_a_contact_cannot_add_to_the_head_of_a_request(kind: type[Any]) -> None:
    """Line ends in the contact do not start; letters of any language do."""
    with pytest.raises(SettingsError, match="USER_AGENT_CONTACT"):
        _load(kind, **GOOD, user_agent_contact="me\r\nX-Planted: 1")
    _load(kind, **GOOD, user_agent_contact="Müller, https://x.example")


def test_every_setting_stands_in_the_example_with_a_line_about_it() -> None:
    """`.env.example` names each variable of each service, above it what it does, and none that does not exist."""
    lines = (Path(__file__).parents[2] / ".env.example").read_text().splitlines()
    written = {
        found[1]: lines[number - 1] for number, line in enumerate(lines) if (found := re.match(r"#? ?([A-Z_]+)=", line))
    }
    known = {name.upper() for kind in KINDS for name in kind.model_fields}
    assert set(written) == known
    for name, above in written.items():
        assert above.startswith("#"), f"{name} has no line above it that says what it does"
