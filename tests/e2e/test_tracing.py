"""One trace from an upload through its images to its webhook, across three processes that never call each other."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from imagepress.mongo import Database
from tests.support import origin as origins
from tests.support.calls import until_ended, upload
from tests.support.collector import serve_collector
from tests.support.origin import serve_origin
from tests.support.pictures import photo
from tests.support.processes import FAST, ROOT, eventually, services
from tests.support.receiver import serve_receiver
from tests.support.stored import in_folder_and_s3
from tests.support.uploads import csv_of

POISONED = {"PYTHONPATH": str(ROOT / "tests" / "support" / "poison")}
"""The decoder dies of a picture that asks for it."""

CLIENTS_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENTS_SPAN = "00f067aa0ba902b7"


@in_folder_and_s3
async def test_one_trace_leads_from_the_upload_to_the_webhook(environment: dict[str, str], tmp_path: Path) -> None:
    """The client's own trace goes on in the upload, in each image, in the webhook, and in what the receiver is sent."""
    async with (
        serve_collector() as collector,
        serve_origin({f"/{n}": origins.body(photo(n)) for n in range(3)}) as origin,
        serve_receiver() as receiver,
        services({**environment, **FAST, **collector.environment}, tmp_path) as system,
    ):
        await asyncio.gather(*(service.start() for service in system.values()))
        async with httpx.AsyncClient(base_url=system["ingest"].url, timeout=60) as client:
            answer = await client.post(
                "/api/upload",
                files={"file": ("c.csv", csv_of([origin.url(f"/{n}") for n in (0, 1, 2, 9)]))},
                data={"webhook_url": receiver.url("/hook")},
                headers={"traceparent": f"00-{CLIENTS_TRACE}-{CLIENTS_SPAN}-01"},
            )
        await until_ended(system["ingest"], answer.json()["request_id"])

        async def told() -> bool:
            # Each process sends its spans by a clock of its own: in no order.
            return [len(collector.named(name)) for name in ("upload", "image", "webhook")] == [1, 4, 1]

        await eventually(told)
        [upload], [webhook] = collector.named("upload"), collector.named("webhook")
        assert (upload.service, webhook.service) == ("imagepress-ingest", "imagepress-notifier")
        assert upload.parent_id == CLIENTS_SPAN
        assert {image.service for image in collector.named("image")} == {"imagepress-watcher"}
        assert {span.trace_id for span in collector.spans} == {CLIENTS_TRACE}
        assert {span.parent_id for span in (webhook, *collector.named("image"))} == {upload.span_id}
        [call] = receiver.received
        assert call.headers["traceparent"] == f"00-{CLIENTS_TRACE}-{webhook.span_id}-01"


async def test_an_image_in_quarantine_has_its_span(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    """Of batches that outlived two leases each image has a span below the upload's; the poisonous one's says so."""
    answers = {f"/{n}": origins.body(photo(n)) for n in range(1, 4)}
    answers["/0"] = origins.body(photo(0, comment="segfault", orientation=6))
    async with (
        serve_collector() as collector,
        serve_origin(answers) as origin,
        services({**environment, **FAST, **POISONED, **collector.environment}, tmp_path) as system,
    ):
        await system["ingest"].start()
        request_id = await upload(system["ingest"], csv_of([origin.url(f"/{n}") for n in range(4)]))
        await database.batches.update_many({}, {"$set": {"expiries": 2}})
        await system["watcher"].start()
        status = await until_ended(system["ingest"], request_id)
        assert status["images"] == {"total": 4, "succeeded": 3, "failed": 1}

        async def told() -> bool:
            return (len(collector.named("upload")), len(collector.named("image"))) == (1, 4)

        await eventually(told)
        [uploading] = collector.named("upload")
        assert {image.parent_id for image in collector.named("image")} == {uploading.span_id}
        [failed] = [image.error for image in collector.named("image") if image.error]
        assert "died of it" in failed


async def test_any_asgi_server_traces(environment: dict[str, str], tmp_path: Path) -> None:
    """Served by uvicorn itself, the app sends the spans of its uploads, the last ones when it is stopped."""
    async with (
        serve_collector() as collector,
        services(
            {**environment, **FAST, **collector.environment, "OTEL_BSP_SCHEDULE_DELAY": "60000"}, tmp_path
        ) as system,
    ):
        ingest = system["ingest"]
        command = (sys.executable, "-m", "uvicorn", "services.ingest.app:app", "--port", ingest.url.rpartition(":")[2])
        await ingest.spawn(*command)
        await ingest.until_ready()
        await upload(ingest, csv_of(["http://127.0.0.1:9/a"]))
        assert collector.spans == []
        await ingest.kill(signal.SIGTERM)
        assert [(span.service, span.name) for span in collector.spans] == [("imagepress-ingest", "upload")]


def test_without_tracing_nothing_of_opentelemetry_is_imported() -> None:
    """Off, which is the default, spans and carriers cost no import: the extra need not be installed."""
    code = (
        "import sys\n"
        "from imagepress import tracing\n"
        "tracing.configure(service='x', enabled=False)\n"
        "with tracing.span('s', parent='00-1-1-01'): assert tracing.carrier() == {}\n"
        "tracing.close()\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_tracing_without_the_extra_is_told_with_the_remedy() -> None:
    """TRACING where OpenTelemetry is not installed does not start, and says what to install."""
    code = (
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "from imagepress import tracing\n"
        "tracing.configure(service='x', enabled=True)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True)
    assert "StartupError: TRACING needs OpenTelemetry: pip install 'imagepress[otel]'" in ended.stderr


async def test_a_collector_that_is_away_holds_nothing_up(environment: dict[str, str], tmp_path: Path) -> None:
    """Uploads are accepted while nobody takes spans, and the service stops in time, with status 0."""
    async with serve_collector() as collector:
        gone = collector.environment
    async with services({**environment, **FAST, **gone}, tmp_path) as system:
        await system["ingest"].start()
        async with httpx.AsyncClient(base_url=system["ingest"].url, timeout=60) as client:
            answer = await client.post("/api/upload", files={"file": ("c.csv", csv_of(["http://127.0.0.1:9/a"]))})
        assert answer.status_code == 200
        system["ingest"].process.terminate()
        assert await asyncio.wait_for(system["ingest"].process.wait(), 15) == 0
