"""Settings of the ingest service."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainValidator
from pydantic_settings import NoDecode

from imagepress.settings import CommaSeparated, OutboundSettings, Seconds, StorageSettings
from services.ingest.keys import Keys, parse_keys


def _keys(value: Any) -> Any:
    return parse_keys(value) if isinstance(value, str) else value


ApiKeys = Annotated[Keys, NoDecode, PlainValidator(_keys)]


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
    api_keys: ApiKeys = Keys()
    link_seconds: Seconds = 604_800.0
    sign_in_seconds: Seconds = 604_800.0
    uploads_per_minute: float = Field(default=600.0, ge=0, le=1_000_000)
    cors_origins: CommaSeparated = ()
    trusted_proxies: CommaSeparated = ("127.0.0.1",)

    @property
    def base_url(self) -> str:
        """The address that links to images and statuses begin with, without a slash at its end."""
        return self.public_base_url.rstrip("/") or f"http://localhost:{self.ingest_port}"

    def conflicts(self) -> list[str]:
        """Return what is wrong between fields."""
        problems = super().conflicts()
        if self.redirect_to_storage and self.storage_url.startswith("file://"):
            problems.append("REDIRECT_TO_STORAGE needs an object store (STORAGE_URL): a folder has no addresses")
        return problems
