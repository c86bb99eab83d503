"""Settings that services share, and how they are read: from the environment and `.env`, once, all problems told."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from imagepress.addresses import AddressPolicy, Network, PortRanges, parse_networks, parse_ports
from imagepress.errors import SettingsError
from imagepress.keys import Keys, parse_keys
from imagepress.links import Links

Networks = Annotated[tuple[Network, ...], NoDecode, PlainValidator(lambda value: _parsed(parse_networks, value))]
Ports = Annotated[PortRanges, NoDecode, PlainValidator(lambda value: _parsed(parse_ports, value))]
ApiKeys = Annotated[Keys, NoDecode, PlainValidator(lambda value: _parsed(parse_keys, value))]
Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600)]


def _parsed(parse: Any, value: Any) -> Any:
    return parse(value) if isinstance(value, str) else value


def commas(value: Any) -> Any:
    """Split a comma-separated setting into a tuple of its non-empty parts."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(commas)]


class CommonSettings(BaseSettings):
    """What every service needs to know. Environment variables have the fields' names in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_file=".env", env_ignore_empty=True)

    mongo_connection_string: SecretStr
    database_name: str = Field(min_length=1, max_length=63)
    collection_name: str = Field(min_length=1, max_length=100)
    database_timeout_seconds: Seconds = 5.0
    sweep_seconds: Seconds = 15.0
    drain_seconds: Seconds = 25.0
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] | None = None
    tracing: bool = False

    @property
    def finish_seconds(self) -> float:
        """What work under way gets of DRAIN_SECONDS to end by itself; the rest is for giving back, and for leaving."""
        return 0.8 * self.drain_seconds

    @field_validator("mongo_connection_string")
    @classmethod
    def _is_mongo(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("mongodb://", "mongodb+srv://")):
            raise ValueError("must start with mongodb:// or mongodb+srv://")
        return value

    @field_validator("database_name")
    @classmethod
    def _is_database(cls, value: str) -> str:
        if re.search(r'[/\\. "$*<>:|?\0]', value):
            raise ValueError('a database name has no spaces and none of / \\ . " $ * < > : | ?')
        return value

    @field_validator("collection_name")
    @classmethod
    def _is_collection(cls, value: str) -> str:
        if "$" in value or "\0" in value or value.startswith("system."):
            raise ValueError("a collection name has no $ and does not start with system.")
        return value

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        """Raise one error that lists every problem between fields (see `conflicts`)."""
        if problems := self.conflicts():
            raise ValueError("; ".join(problems))
        return self

    def conflicts(self) -> list[str]:
        """Return what is wrong between fields, a sentence each; services add their own."""
        return []


class LeaseSettings(CommonSettings):
    """For services that hold leases."""

    lease_seconds: Seconds = 60.0


class OutboundSettings(CommonSettings):
    """For services that call strangers' addresses."""

    allowed_networks: Networks = ()
    allowed_ports: Ports = parse_ports("80,443,1024-65535")

    @property
    def address_policy(self) -> AddressPolicy:
        """Where outbound connections may go."""
        return AddressPolicy(allowed_networks=self.allowed_networks, allowed_ports=self.allowed_ports)


class LinkSettings(CommonSettings):
    """For services that tell clients links into the ingest: the same for all of them, or links would not be good."""

    ingest_port: int = Field(default=8000, ge=0, le=65535)
    public_base_url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    public_image_base_url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    api_keys: ApiKeys = Keys()
    link_seconds: Seconds = 604_800.0

    @property
    def links(self) -> Links:
        """What makes the links; signed, where there are keys."""
        base_url = self.public_base_url.rstrip("/") or f"http://localhost:{self.ingest_port}"
        images_url = self.public_image_base_url.rstrip("/")
        return Links(base_url, self.api_keys.link_secret(), self.link_seconds, images_url)


class StorageSettings(CommonSettings):
    """For services that store or read images."""

    storage_url: str = "file://.data/images"

    @field_validator("storage_url")
    @classmethod
    def _is_known_store(cls, value: str) -> str:
        if not value.startswith(("file://", "s3://", "gs://", "az://")):
            raise ValueError("must start with file://, s3://, gs:// or az://")
        return value


Settings = TypeVar("Settings", bound=CommonSettings)


def load(kind: type[Settings], **overrides: Any) -> Settings:
    """Read the settings of one service.

    Raises `SettingsError` with one line for each problem, by the name of the environment variable. Values are not
    repeated: they may be secrets.
    """
    try:
        return kind(**overrides)
    except ValidationError as error:
        lines = [_line(problem["loc"], problem["msg"]) for problem in error.errors(include_input=False)]
        listed = "\n".join(f"  - {line}" for line in lines)
        raise SettingsError(
            f"the settings are not usable, {len(lines)} to mend (environment or .env, see .env.example):\n{listed}"
        ) from None


def _line(location: tuple[int | str, ...], message: str) -> str:
    name = str(location[0]).upper() if location else "together"
    if message == "Field required":
        message = "is required"
    return f"{name}: {message.removeprefix('Value error, ')}"
