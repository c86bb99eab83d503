"""Settings of the ingest service."""

from __future__ import annotations

from pydantic import Field

from imagepress.settings import OutboundSettings, Seconds, StorageSettings


class IngestSettings(OutboundSettings, StorageSettings):
    """What the ingest service needs to know, beside what every service does."""

    ingest_host: str = "127.0.0.1"
    ingest_port: int = Field(default=8000, ge=0, le=65535)
    public_base_url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    public_image_base_url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    redirect_to_storage: bool = False
    max_upload_bytes: int = Field(default=50_000_000, ge=1)
    max_images: int = Field(default=200_000, ge=1)
    batch_images: int = Field(default=64, ge=1, le=256)
    upload_seconds: Seconds = 300.0
    concurrent_uploads: int = Field(default=4, ge=1, le=64)
    turn_seconds: Seconds = 5.0

    @property
    def base_url(self) -> str:
        """The address that links to images and statuses begin with, without a slash at its end."""
        return self.public_base_url.rstrip("/") or f"http://localhost:{self.ingest_port}"

    @property
    def images_url(self) -> str:
        """What the links to stored images begin with, without a slash at its end."""
        return self.public_image_base_url.rstrip("/") or f"{self.base_url}/compressed_images"

    def conflicts(self) -> list[str]:
        """Return what is wrong between fields."""
        problems = super().conflicts()
        if self.redirect_to_storage and self.storage_url.startswith("file://"):
            problems.append("REDIRECT_TO_STORAGE needs an object store (STORAGE_URL): a folder has no addresses")
        return problems
