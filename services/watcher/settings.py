"""Settings of the watcher service."""

from __future__ import annotations

import os

from pydantic import Field

from imagepress.settings import LeaseSettings, OutboundSettings, Seconds, StorageSettings


class WatcherSettings(LeaseSettings, OutboundSettings, StorageSettings):
    """What the watcher service needs to know, beside what every service does."""

    watcher_metrics_port: int = Field(default=9101, ge=0, le=65535)
    metrics_host: str = "127.0.0.1"
    watcher_processes: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=128)
    codec_threads: int = Field(default=1, ge=1, le=64)
    fetch_concurrency: int = Field(default=64, ge=1, le=1024)
    fetch_per_host: int = Field(default=8, ge=1, le=1024)
    fetch_connect_seconds: Seconds = 5.0
    fetch_seconds: Seconds = 60.0
    fetch_tries: int = Field(default=4, ge=1, le=20)
    codec_seconds: Seconds = 60.0
    user_agent_contact: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
    max_pixels: int = Field(default=50_000_000, ge=1, le=1_000_000_000)
    max_image_bytes: int = Field(default=32_000_000, ge=1)
    bytes_in_flight: int = Field(default=48_000_000, ge=1)
    max_claims: int = Field(default=5, ge=1)
    turn_seconds: Seconds = 5.0
    retention_days: float = Field(default=0, ge=0, le=36_500)

    @property
    def heartbeat_seconds(self) -> float:
        """How often leases are extended."""
        return self.lease_seconds / 4

    def conflicts(self) -> list[str]:
        """Return what is wrong between fields."""
        problems = super().conflicts()
        # A heartbeat may come late by one search for a primary and one write; the lease must outlast that.
        least = self.heartbeat_seconds + 2 * self.database_timeout_seconds
        if self.lease_seconds <= least:
            problems.append(
                f"LEASE_SECONDS ({self.lease_seconds:g}) must exceed {least:g}: a quarter of itself, the time between "
                "heartbeats, and twice DATABASE_TIMEOUT_SECONDS"
            )
        if self.bytes_in_flight < self.max_image_bytes:
            problems.append("BYTES_IN_FLIGHT must be at least MAX_IMAGE_BYTES")
        return problems
