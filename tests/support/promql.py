"""Expressions of dashboards and alerts, held against what services really expose."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import promql_parser
import yaml
from prometheus_client.parser import text_string_to_metric_families

GRAFANA_INTERVAL: Final = "$__rate_interval"

Exposed = Mapping[str, list[dict[str, str]]]
"""The labels of every sample, by its name."""


def exposed(texts: Iterable[str]) -> Exposed:
    """Return what the expositions of several services hold together."""
    samples: dict[str, list[dict[str, str]]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append(dict(sample.labels))
    return samples


def of_alerts(path: Path) -> dict[str, str]:
    """Return the expressions of a Prometheus rule file, by the alerts' names."""
    document = yaml.safe_load(path.read_text())
    return {rule["alert"]: rule["expr"] for group in document["groups"] for rule in group["rules"]}


def of_dashboard(path: Path) -> dict[str, str]:
    """Return the expressions of a Grafana dashboard, by title of the panel and letter of the query."""
    panels = json.loads(path.read_text())["panels"]
    return {f"{panel['title']} {target['refId']}": target["expr"] for panel in panels for target in panel["targets"]}


def problems(expression: str, samples: Exposed) -> list[str]:
    """Return what an expression asks for that nothing in `samples` answers: metrics, labels, values of labels.

    Raises `ValueError` where it is no PromQL.
    """
    found: list[str] = []

    def look(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.extend(_unanswered(node, samples))

    promql_parser.walk(promql_parser.parse(expression.replace(GRAFANA_INTERVAL, "5m")), look)
    return found


def _unanswered(selector: promql_parser.VectorSelector, samples: Exposed) -> list[str]:
    series = samples.get(selector.name or "", [])
    if not series:
        return [f"{selector.name} is not exposed"]
    wrong = []
    for matcher in selector.matchers.matchers:
        values = {labels.get(matcher.name) for labels in series}
        if values == {None}:
            wrong.append(f"{selector.name} has no label {matcher.name}")
        elif matcher.op == promql_parser.MatchOp.Equal and matcher.value not in values:
            wrong.append(f"{selector.name} has no {matcher.name}={matcher.value!r}")
    return wrong
