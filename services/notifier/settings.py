"""Settings of the notifier service."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator, field_validator
from pydantic_settings import NoDecode

from imagepress.settings import LeaseSettings, OutboundSettings, Seconds, commas
from imagepress.signing import SigningSecrets, parse_secrets

# What a claim, a POST and the record of its result may take together beyond their own limits: a tenth of these.
_MARGIN: Final = 1.1


def _secrets(value: Any) -> Any:
    return parse_secrets(value) if isinstance(value, str) else value


Secrets = Annotated[SigningSecrets, NoDecode, PlainValidator(_secrets)]
Schedule = Annotated[
    tuple[Annotated[float, Field(ge=0, le=7 * 24 * 3600)], ...], NoDecode, Field(min_length=1, max_length=50)
]


class NotifierSettings(LeaseSettings, OutboundSettings):
    """What the notifier service needs to know, beside what every service does."""

    notifier_metrics_port: int = Field(default=9102, ge=0, le=65535)
    metrics_host: str = "127.0.0.1"
    public_base_url: str = Field(default="http://localhost:8000", pattern=r"^https?://\S+$")
    user_agent_contact: str = ""
    webhook_secrets: Secrets = SigningSecrets()
    # The example of Standard Webhooks 1.0.0: ten attempts over three days.
    webhook_schedule_seconds: Schedule = (0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
    webhook_jitter: float = Field(default=0.1, ge=0, le=1)
    webhook_timeout_seconds: Seconds = 15.0
    webhook_connect_seconds: Seconds = 5.0
    webhook_concurrency: int = Field(default=256, ge=1, le=4096)
    webhook_per_host: int = Field(default=8, ge=1, le=1024)

    _split_schedule = field_validator("webhook_schedule_seconds", mode="before")(commas)

    @field_validator("webhook_schedule_seconds")
    @classmethod
    def _starts_at_once(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if value[0] != 0:
            raise ValueError("the first must be 0, since a webhook is due as soon as its run has ended")
        return value

    @property
    def base_url(self) -> str:
        """What the links in a webhook begin with, without a slash at its end."""
        return self.public_base_url.rstrip("/")

    @property
    def claimed_for_seconds(self) -> float:
        """The longest that a claim may be in hand: claimed, sent and recorded, with a margin."""
        return _MARGIN * (self.webhook_timeout_seconds + 2 * self.database_timeout_seconds)

    def conflicts(self) -> list[str]:
        """Return what is wrong between fields."""
        problems = super().conflicts()
        if self.lease_seconds <= self.claimed_for_seconds:
            # Otherwise another notifier could send the webhook while this one still does.
            problems.append(
                f"LEASE_SECONDS ({self.lease_seconds:g}) must exceed {self.claimed_for_seconds:g}: WEBHOOK_TIMEOUT_SECONDS "
                "and twice DATABASE_TIMEOUT_SECONDS, and a tenth more; set LEASE_SECONDS higher or the others lower"
            )
        if self.webhook_connect_seconds > self.webhook_timeout_seconds:
            problems.append("WEBHOOK_CONNECT_SECONDS must not exceed WEBHOOK_TIMEOUT_SECONDS, which covers it")
        return problems
