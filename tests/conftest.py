"""What tests share: one real replica set a session, a database of its own for each test, settings that point there."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from deploy.local.mongod import ReplicaSet
from imagepress.mongo import Database, connected
from imagepress.settings import CommonSettings, load
from tests.support.object_store import ObjectStore, serve_s3

Settings = TypeVar("Settings", bound=CommonSettings)
MakeSettings = Callable[..., Any]


@pytest.fixture(scope="session")
def replica_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaSet]:
    """A real mongod, as a replica set of one, for the whole session."""
    with ReplicaSet(tmp_path_factory.mktemp("mongod")) as running:
        yield running


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A real S3 server with one bucket, for the whole session; each test keeps to a prefix of its own."""
    with serve_s3(tmp_path_factory.mktemp("s3")) as running:
        yield running


def fresh_environment(replica_set: ReplicaSet, folder: Path) -> dict[str, str]:
    """Return settings as environment variables: a fresh database, images in `folder`, loopback allowed."""
    return {
        "MONGO_CONNECTION_STRING": replica_set.uri,
        "DATABASE_NAME": f"test_{uuid.uuid4().hex[:16]}",
        "COLLECTION_NAME": "requests",
        "STORAGE_URL": f"file://{folder / 'images'}",
        "ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",
    }


@pytest.fixture
def environment(replica_set: ReplicaSet, tmp_path: Path) -> dict[str, str]:
    """The settings of a test as environment variables."""
    return fresh_environment(replica_set, tmp_path)


@pytest.fixture
def make_settings(environment: dict[str, str]) -> MakeSettings:
    """Return a function (kind of settings, overrides) -> settings that point at this test's database."""

    def make(kind: type[Settings], **overrides: Any) -> Settings:
        values = {name.lower(): value for name, value in environment.items() if name.lower() in kind.model_fields}
        return load(kind, _env_file=None, **{**values, **overrides})

    return make


@pytest.fixture
async def database(make_settings: MakeSettings, environment: dict[str, str]) -> AsyncIterator[Database]:
    """The database of this test, with its indexes; dropped at the end."""
    async with connected(make_settings(CommonSettings)) as opened:
        yield opened
        client: AsyncIOMotorClient[dict[str, Any]] = opened.client
        await client.drop_database(environment["DATABASE_NAME"])
