"""The image store of a test, of either kind: which tests use both, and what is in it, past all of our own code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast

import pytest
from obstore.store import from_url

if TYPE_CHECKING:
    from obstore.store import S3Config

STORES: Final = ("folder", "s3")

in_folder_and_s3: Final = pytest.mark.parametrize("environment", STORES, indirect=True)
"""Marks a test that runs twice: with its images in a folder, and in an S3."""


class Stored:
    """Looks into the store that services with these settings use."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Take from the settings what concerns the store."""
        self._url = environment["STORAGE_URL"]
        self._access = {name: value for name, value in environment.items() if name.startswith("AWS_")}

    async def paths(self, prefix: str = "") -> list[str]:
        """Return the paths of what is stored under `prefix`, a request's id or everything."""
        store = from_url(self._url, config=cast("S3Config", self._access), client_options={"allow_http": True})
        return [found["path"] async for page in store.list(prefix or None) for found in page]
