"""The house's rule that no linter knows: a test says in one sentence what must hold."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]


def _silent(source: str) -> Iterator[str]:
    """Yield the tests in `source` that do not say what must hold."""
    functions = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    for function in functions:
        if function.name.startswith("test_") and not ast.get_docstring(function):
            yield function.name


def test_every_test_says_what_must_hold() -> None:
    """No test of any suite is without a docstring."""
    files = list(TESTS.rglob("test_*.py"))
    assert files
    assert not [f"{path.name}: {name}" for path in files for name in _silent(path.read_text())]


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_test_that_says_nothing_is_found(kind: str) -> None:
    """The search itself finds what it is for, in classes too."""
    source = f'class TestIt:\n    {kind} test_it(self): ...\n\n{kind} test_other():\n    """It holds."""\n'
    assert list(_silent(source)) == ["test_it"]
