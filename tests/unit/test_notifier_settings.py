"""Settings of the notifier: what is refused at start-up, and secrets that never show."""

from __future__ import annotations

from typing import Any

import pytest

from imagepress.errors import SettingsError
from imagepress.settings import load
from services.notifier.settings import NotifierSettings

GOOD: dict[str, Any] = {
    "mongo_connection_string": "mongodb://localhost/?replicaSet=rs0",
    "database_name": "imagepress",
    "collection_name": "requests",
}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NotifierSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def _load(**values: Any) -> NotifierSettings:
    return load(NotifierSettings, _env_file=None, **{**GOOD, **values})


def test_the_schedule_is_that_of_the_specification_unless_set() -> None:
    """Ten attempts over three days; a comma-separated list of seconds sets another."""
    assert _load().webhook_schedule_seconds == (0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
    assert _load(webhook_schedule_seconds="0, 0.5,60").webhook_schedule_seconds == (0, 0.5, 60)


def test_settings_come_from_the_environment_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists and secrets are read from the text of a variable."""
    monkeypatch.setenv("WEBHOOK_SCHEDULE_SECONDS", "0,1")
    monkeypatch.setenv("WEBHOOK_SECRETS", f"{SECRET},shop={SECRET}")
    settings = _load()
    assert settings.webhook_schedule_seconds == (0, 1)
    assert len(settings.webhook_secrets.of("shop")) == len(settings.webhook_secrets.of(None)) == 1


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"webhook_schedule_seconds": ""}, "WEBHOOK_SCHEDULE_SECONDS"),
        ({"webhook_schedule_seconds": "soon"}, "WEBHOOK_SCHEDULE_SECONDS"),
        ({"webhook_schedule_seconds": "0,-1"}, "WEBHOOK_SCHEDULE_SECONDS"),
        ({"webhook_schedule_seconds": "0,nan"}, "WEBHOOK_SCHEDULE_SECONDS"),
        ({"webhook_schedule_seconds": "5,5"}, "the first must be 0"),
        ({"webhook_jitter": 1.5}, "WEBHOOK_JITTER"),
        ({"webhook_secrets": "whsec_short"}, "WEBHOOK_SECRETS: secret 1"),
        ({"public_base_url": "ftp://x"}, "PUBLIC_BASE_URL"),
        ({"webhook_connect_seconds": 20}, "WEBHOOK_CONNECT_SECONDS must not exceed WEBHOOK_TIMEOUT_SECONDS"),
    ],
)
def test_unusable_values_are_refused_by_name(values: dict[str, Any], told: str) -> None:
    """Each problem is told with the variable that it is about."""
    with pytest.raises(SettingsError, match=told):
        _load(**values)


def test_a_lease_must_outlast_a_post() -> None:
    """With a lease that could end during a POST, two notifiers would send at once: the sentence says what to set."""
    with pytest.raises(SettingsError, match=r"LEASE_SECONDS \(25\) must be at least 25.5: .* set it higher"):
        _load(lease_seconds=25)
    assert _load(lease_seconds=25.5).lease_seconds == 25.5


def test_secrets_never_show() -> None:
    """Neither the settings' text nor an error repeats a secret."""
    settings = _load(webhook_secrets=SECRET)
    assert SECRET.removeprefix("whsec_") not in repr(settings)
    assert str(settings.webhook_secrets.shared[0]) not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        _load(webhook_secrets=f"{SECRET},whsec_hunter2")
    assert "hunter2" not in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "base"),
    [
        ({}, "http://localhost:8000"),
        ({"ingest_port": 8080}, "http://localhost:8080"),
        ({"public_base_url": "https://x.test/"}, "https://x.test"),
    ],
)
def test_links_begin_as_those_of_the_ingest_do(values: dict[str, Any], base: str) -> None:
    """PUBLIC_BASE_URL without its last slash, or else this machine and the ingest's port."""
    assert _load(**values).links.base_url == base
