"""Which MongoDB can serve imagepress."""

from __future__ import annotations

from typing import Any

import pytest

from imagepress.mongo import unfit

MEMBER: dict[str, Any] = {"setName": "rs0", "maxWireVersion": 17}
ROUTER: dict[str, Any] = {"msg": "isdbgrid", "maxWireVersion": 25}


@pytest.mark.parametrize("hello", [MEMBER, ROUTER, {**MEMBER, "maxWireVersion": 13}])
def test_members_of_replica_sets_and_routers_will_do(hello: dict[str, Any]) -> None:
    """A replica set and a sharded cluster are accepted, from MongoDB 5.0 on."""
    assert unfit(hello) is None


@pytest.mark.parametrize(
    ("hello", "word"), [({"maxWireVersion": 17}, "standalone"), ({**MEMBER, "maxWireVersion": 9}, "older than 5.0")]
)
def test_others_are_refused_with_the_remedy(hello: dict[str, Any], word: str) -> None:
    """A standalone server, and one without snapshot reads, are named as what they are, with what to do."""
    said = unfit(hello)
    assert said is not None
    assert word in said
    assert "Atlas" in said
