"""The fuzzer finds what is wrong, and can be asked for the same file again."""

from __future__ import annotations

from itertools import islice

import pytest

from tests.chaos.fuzz import TARGETS, Hunt, Target, hunt, tables
from tests.support.csv_sound import VALID
from tests.support.hostile import mutations

SEED = 7


def no_quote_after_comma(data: bytes) -> None:
    """A planted fault: a reader that fails for a quote behind two commas."""
    if b',,"' in data:
        raise ZeroDivisionError


def no_large_width(data: bytes) -> None:
    """A planted fault: a decoder that fails for a PNG that says it is wider than 16 million pixels."""
    if data[12:16] == b"IHDR" and data[16]:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "target", [Target("csv", tables, no_quote_after_comma), Target("compress", mutations, no_large_width)]
)
def test_a_planted_fault_is_found_and_found_again(target: Target) -> None:
    """A fault that few files hit is found within seconds, at the same file for the same seed."""
    told: list[str] = []
    found = hunt(target, SEED, 60, told.append)
    assert "ZeroDivisionError" in found.finding
    assert found.finding.startswith(told[-1])
    assert hunt(target, SEED, 60, told.append) == found


def test_nothing_wrong_is_nothing_found() -> None:
    """A hunt ends when its time is over, and with it the files, however many there were."""
    assert hunt(Target("csv", lambda _: iter([("whole", VALID)] * 3), len), SEED, 60, str) == Hunt(3)
    assert hunt(Target("csv", tables, len), SEED, 0, str) == Hunt(0)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_first_files_are_sound(target: Target) -> None:
    """The judges themselves have nothing against the first damaged files."""
    few = Target(target.name, lambda seed: islice(target.cases(seed), 20), target.judge)
    assert hunt(few, SEED, 60, str) == Hunt(20)
