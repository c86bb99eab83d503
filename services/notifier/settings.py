"""Settings of the notifier service."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PlainValidator
from pydantic_settings import NoDecode

from imagepress.settings import LeaseSettings, OutboundSettings, Seconds
from imagepress.signing import Secrets, parse_secrets

LEASE_MARGIN_SECONDS = 2.0
"""Beyond the POST and the writes that record it: for a busy machine."""

_LONGEST_DELAY = 7 * 24 * 3600


def _schedule(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        delays = tuple(float(piece) for piece in value.split(",") if piece.strip())
    except ValueError:
        raise ValueError("must be numbers of seconds, separated by commas") from None
    if not delays or any(not 0 <= delay <= _LONGEST_DELAY for delay in delays):
        raise ValueError("needs at least one delay, each from 0 to 604,800 seconds")
    return delays


def _secrets(value: object) -> object:
    return parse_secrets(value) if isinstance(value, str) else value


class NotifierSettings(LeaseSettings, OutboundSettings):
    """What the notifier service needs to know, beside what every service does."""

    notifier_metrics_port: int = Field(default=9102, ge=0, le=65535)
    metrics_host: str = "127.0.0.1"
    public_base_url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    ingest_port: int = Field(default=8000, ge=0, le=65535)
    webhook_secrets: Annotated[Secrets, NoDecode, PlainValidator(_secrets)] = Field(default=Secrets(), repr=False)
    webhook_schedule_seconds: Annotated[tuple[float, ...], NoDecode, PlainValidator(_schedule)] = (
        *(0.0, 5.0, 300.0, 1800.0, 7200.0),
        *(18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0),
    )
    webhook_jitter: float = Field(default=0.1, ge=0, le=1)
    webhook_timeout_seconds: Seconds = 15.0
    webhook_connect_seconds: Seconds = 5.0
    webhook_concurrency: int = Field(default=256, ge=1, le=10_000)
    webhook_per_host: int = Field(default=8, ge=1, le=1000)
    user_agent_contact: str = ""

    @property
    def base_url(self) -> str:
        """The address that links begin with, without a slash at its end."""
        return self.public_base_url.rstrip("/") or f"http://localhost:{self.ingest_port}"

    def conflicts(self) -> list[str]:
        """Return what is wrong between fields."""
        problems = super().conflicts()
        # Nothing extends the lease of a webhook: a second notifier would send while the first still does.
        least = self.webhook_timeout_seconds + 2 * self.database_timeout_seconds + LEASE_MARGIN_SECONDS
        if self.lease_seconds < least:
            problems.append(
                f"LEASE_SECONDS ({self.lease_seconds:g}) must be at least {least:g}: WEBHOOK_TIMEOUT_SECONDS, twice "
                f"DATABASE_TIMEOUT_SECONDS, and {LEASE_MARGIN_SECONDS:g}"
            )
        if self.webhook_connect_seconds > self.webhook_timeout_seconds:
            problems.append("WEBHOOK_CONNECT_SECONDS must not exceed WEBHOOK_TIMEOUT_SECONDS")
        return problems
