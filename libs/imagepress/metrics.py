"""Prometheus metrics: what each service counts, by the names that dashboards rely on."""

from __future__ import annotations

import os

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

listeners = Gauge(
    "imagepress_listeners", "Connections that follow live progress at this moment", multiprocess_mode="livesum"
)
uploads = Counter("imagepress_uploads_total", "Uploads by outcome", ["outcome"])
images = Counter("imagepress_images_total", "Images that ended, by outcome and error code", ["outcome", "code"])
image_bytes = Counter("imagepress_image_bytes_total", "Bytes fetched and stored", ["direction"])
stage_seconds = Histogram(
    "imagepress_stage_seconds",
    "Seconds an image spent in each stage",
    ["stage"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
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
    "imagepress_stream_open", "Whether the change stream is open (1) or not (0)", multiprocess_mode="max"
)


def exposition() -> tuple[bytes, str]:
    """Return the metrics in Prometheus text format and its content type; of all processes where there are several."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(), CONTENT_TYPE_LATEST
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
    return generate_latest(registry), CONTENT_TYPE_LATEST
