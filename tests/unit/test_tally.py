"""What is noted in memory arrives in the metrics, once."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Histogram

from imagepress import metrics
from services.watcher.tally import Tally


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_what_was_noted_is_handed_over_once() -> None:
    """Counts and seconds go to the metrics at a flush, and nothing goes twice."""
    names = {
        "imagepress_images_total": {"outcome": "succeeded", "code": ""},
        "imagepress_image_bytes_total": {"direction": "input"},
        "imagepress_stage_seconds_count": {"stage": "compress"},
        "imagepress_stage_seconds_sum": {"stage": "compress"},
    }
    before = [sample(name, **labels) for name, labels in names.items()]
    tally = Tally()
    tally.count(2, bytes_in=100, bytes_out=40)
    tally.compress.extend([0.25, 0.5])
    tally.flush()
    tally.flush()
    after = [sample(name, **labels) for name, labels in names.items()]
    assert [round(b - a, 6) for a, b in zip(before, after, strict=True)] == [2, 200, 2, 0.75]


def test_many_observations_count_as_each_would() -> None:
    """`observe_all` fills the same buckets as one `observe` after the other, bounds included."""
    values = [0.0, 0.5, 1.0, 1.0001, 2.0, 9.9, 10.0, 11.0, 1000.0]
    exposed = []
    for all_at_once in (False, True):
        registry = CollectorRegistry()
        histogram = Histogram("h", "of a test", buckets=(1, 2, 10), registry=registry)
        if all_at_once:
            metrics.observe_all(histogram, values)
        else:
            for value in values:
                histogram.observe(value)
        exposed.append(
            [(s.name, s.labels, s.value) for m in registry.collect() for s in m.samples if "created" not in s.name]
        )
    assert exposed[0] == exposed[1]
