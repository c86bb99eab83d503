"""Prometheus metrics: what the services count, by the names that dashboards and alerts rely on (`deploy/monitoring`).

Whoever counts makes the label values that it knows of when it is imported: a series that first appears with its first
failure starts at one, and `increase()` never sees that failure. Nobody else does, so a service exposes what is its own.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

http_answers = Counter("imagepress_http_answers_total", "Answers by operation and status", ["operation", "status"])
http_seconds = Histogram(
    "imagepress_http_seconds", "Seconds from the head of a call to the first byte of its answer", ["operation"]
)
listeners = Gauge(
    "imagepress_listeners", "Connections that follow live progress at this moment", multiprocess_mode="livesum"
)
uploads = Counter("imagepress_uploads_total", "Uploads by outcome", ["outcome"])
images = Counter("imagepress_images_total", "Images that ended, by outcome and error code", ["outcome", "code"])
image_bytes = Counter("imagepress_image_bytes_total", "Bytes fetched and stored", ["direction"])
stage_seconds = Histogram(
    "imagepress_stage_seconds",
    "Seconds an image spent in each stage; fetch: what its hosts took, without our queues",
    ["stage"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
claim_seconds = Histogram(
    "imagepress_claim_seconds",
    "Seconds MongoDB took to answer a claim",
    ["kind"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
queue_depth = Gauge(
    "imagepress_queue_depth",
    "Batches, or due webhooks, that wait to be claimed; counted up to a bound at each sweep",
    ["kind"],
    multiprocess_mode="max",
)
queue_oldest_seconds = Gauge(
    "imagepress_queue_oldest_seconds",
    "The longest that a request has waited for its first claim, or a webhook since it was due",
    ["kind"],
    multiprocess_mode="max",
)
claims = Counter("imagepress_claims_total", "Claims of batches, by whether one was found", ["outcome"])
leases_lost = Counter("imagepress_leases_lost_total", "Batches whose lease was lost by their worker")
leases_expired = Counter(
    "imagepress_leases_expired_total", "Leases that ran out and were returned by the sweep", ["kind"]
)
requests_ended = Counter("imagepress_requests_ended_total", "Runs of requests that ended, by status", ["status"])
webhook_attempts = Counter("imagepress_webhook_attempts_total", "Webhook POSTs by outcome", ["outcome"])
webhook_seconds = Histogram("imagepress_webhook_attempt_seconds", "Seconds a webhook POST took")
webhook_delay_seconds = Histogram(
    "imagepress_webhook_delay_seconds",
    "Seconds from the end of a run until its receiver had the webhook, where the first attempt delivered it",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
webhook_posts = Gauge("imagepress_webhook_posts", "Webhook POSTs under way")
webhook_hosts_resting = Gauge(
    "imagepress_webhook_hosts_resting", "Receivers' hosts that failed again and again, and rest"
)
stream_open = Gauge(
    "imagepress_stream_open",
    "Whether the change stream of a collection is open (1) or not (0)",
    ["collection"],
    multiprocess_mode="max",
)
stream_opened = Counter("imagepress_stream_opened_total", "Openings of the change stream", ["collection"])
stream_lag_seconds = Histogram(
    "imagepress_stream_lag_seconds",
    "Seconds from a change, by the database's clock, until it was read here, by this machine's",
    ["collection"],
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
worker_deaths = Counter("imagepress_worker_deaths_total", "Worker processes that ended by themselves")


def observe_all(histogram: Histogram, values: Sequence[float]) -> None:
    """Observe each of `values`, at about the cost of one (by the names inside prometheus_client, which is pinned)."""
    if not values:
        return
    bounds = histogram._upper_bounds
    histogram._sum.inc(sum(values))
    for at, number in Counts(bisect_left(bounds, value) for value in values).items():
        histogram._buckets[at].inc(number)


def exposition() -> tuple[bytes, str]:
    """Return the metrics in Prometheus text format and its content type; of all processes where there are several."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(), CONTENT_TYPE_LATEST
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
    return generate_latest(registry), CONTENT_TYPE_LATEST
