"""Settings of the notifier service."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator, field_validator
from pydantic_settings import NoDecode

from imagepress.settings import LeaseSettings, LinkSettings, OutboundSettings, Seconds, commas
from imagepress.signing import SigningSecrets, parse_secrets

# What lies between a claim, a POST and the record of its result when the machine is busy.
_MARGIN_SECONDS: Final = 0.5


def _secrets(value: Any) -> Any:
    return parse_secrets(value) if isinstance(value, str) else value


Secrets = Annotated[SigningSecrets, NoDecode, PlainValidator(_secrets)]
Schedule = Annotated[
    tuple[Annotated[float, Field(ge=0, le=7 * 24 * 3600)], ...], NoDecode, Field(min_length=1, max_length=50)
]


class NotifierSettings(LeaseSettings, LinkSettings, OutboundSettings):
    """What the notifier service needs to know, beside what every service does."""

    notifier_metrics_port: int = Field(default=9102, ge=0, le=65535)
    metrics_host: str = "127.0.0.1"
    user_agent_contact: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
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

    def conflicts(self) -> list[str]:
        """Return what is wrong between fields."""
        problems = super().conflicts()
        # Otherwise another notifier could claim the webhook, and send it, while this one still does.
        least = self.webhook_timeout_seconds + 2 * self.database_timeout_seconds + _MARGIN_SECONDS
        if self.lease_seconds < least:
            problems.append(
                f"LEASE_SECONDS ({self.lease_seconds:g}) must be at least {least:g}: WEBHOOK_TIMEOUT_SECONDS, twice "
                f"DATABASE_TIMEOUT_SECONDS, and {_MARGIN_SECONDS:g}; set it higher, or one of them lower"
            )
        if self.webhook_connect_seconds > self.webhook_timeout_seconds:
            problems.append("WEBHOOK_CONNECT_SECONDS must not exceed WEBHOOK_TIMEOUT_SECONDS, which covers it")
        return problems
