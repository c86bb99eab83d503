"""Settings of the ingest service."""

from __future__ import annotations

from pydantic import Field

from imagepress.settings import CommaSeparated, LinkSettings, OutboundSettings, Seconds, StorageSettings


class IngestSettings(LinkSettings, OutboundSettings, StorageSettings):
    """What the ingest service needs to know, beside what every service does."""

    ingest_host: str = "127.0.0.1"
    redirect_to_storage: bool = False
    max_upload_bytes: int = Field(default=50_000_000, ge=1)
    max_images: int = Field(default=200_000, ge=1)
    batch_images: int = Field(default=256, ge=1, le=256)
    upload_seconds: Seconds = 300.0
    concurrent_uploads: int = Field(default=4, ge=1, le=64)
    turn_seconds: Seconds = 5.0
    sign_in_seconds: Seconds = 604_800.0
    uploads_per_minute: float = Field(default=600.0, ge=0, le=1_000_000)
    cors_origins: CommaSeparated = ()
    trusted_proxies: CommaSeparated = ("127.0.0.1",)

    def conflicts(self) -> list[str]:
        """Return what is wrong between fields."""
        problems = super().conflicts()
        if self.redirect_to_storage and self.storage_url.startswith("file://"):
            problems.append("REDIRECT_TO_STORAGE needs an object store (STORAGE_URL): a folder has no addresses")
        return problems
