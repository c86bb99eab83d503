"""Where the images of an end-to-end test go: into a folder; where it says `in_folder_and_s3`, into an S3 as well."""

from __future__ import annotations

import pytest

from tests.support.object_store import ObjectStore
from tests.support.stored import Stored


@pytest.fixture
def environment(environment: dict[str, str], request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of a test as environment variables, those of its image store among them."""
    if getattr(request, "param", "folder") == "folder":
        return environment
    object_store: ObjectStore = request.getfixturevalue("object_store")
    return {**environment, **object_store.environment(environment["DATABASE_NAME"])}


@pytest.fixture
def stored(environment: dict[str, str]) -> Stored:
    """What the image store of this test holds."""
    return Stored(environment)
