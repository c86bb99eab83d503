"""The checker of dashboards and alerts finds what is wrong with them."""

from __future__ import annotations

import pytest

from tests.support.promql import exposed, problems

EXPOSED = exposed(
    [
        '# TYPE images counter\nimages_total{code="poison",outcome="failed"} 1.0\n',
        '# TYPE claim_seconds histogram\nclaim_seconds_bucket{le="+Inf"} 1.0\nclaim_seconds_count 1.0\n',
    ]
)


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ('sum by (code) (rate(images_total{code="poison"}[$__rate_interval])) > 0', []),
        ("histogram_quantile(0.9, sum by (le) (rate(claim_seconds_bucket[5m])))", []),
        ("rate(image_total[5m])", ["image_total is not exposed"]),
        ("images_total + on (x) claim_seconds_sum", ["claim_seconds_sum is not exposed"]),
        ('max_over_time(images_total{kind="x"}[1h:1m])', ["images_total has no label kind"]),
        ('images_total{code="poisson"}', ["images_total has no code='poisson'"]),
    ],
)
def test_what_nothing_answers_is_found(expression: str, found: list[str]) -> None:
    """A metric, a label or a label's value that is not exposed is named, wherever in the expression it stands."""
    assert problems(expression, EXPOSED) == found


def test_an_expression_that_cannot_be_parsed_is_an_error() -> None:
    """A slip of the pen is not taken for an expression that asks for nothing."""
    with pytest.raises(ValueError, match="unclosed"):
        problems("rate(images_total[5m]", EXPOSED)
