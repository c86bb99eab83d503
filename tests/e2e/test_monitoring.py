"""Dashboard and alerts ask for nothing that the running services do not expose."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.support import origin as origins
from tests.support.calls import until_ended, upload
from tests.support.origin import serve_origin
from tests.support.pictures import photo
from tests.support.processes import FAST, ROOT, Service, eventually, services
from tests.support.promql import Exposed, exposed, of_alerts, of_dashboard, problems
from tests.support.receiver import serve_receiver
from tests.support.stored import in_folder_and_s3
from tests.support.uploads import csv_of

MONITORING = ROOT / "deploy/monitoring"


async def _exposed(system: dict[str, Service]) -> Exposed:
    async with httpx.AsyncClient() as client:
        answers = [await client.get(f"{service.url}/metrics") for service in system.values()]
    assert all(answer.headers["content-type"].startswith("text/plain") for answer in answers)
    return exposed(answer.text for answer in answers)


@in_folder_and_s3
async def test_every_expression_is_answered_by_the_running_services(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """After one upload with a webhook, each metric, label and value of label in dashboard and alerts is exposed."""
    expressions = of_alerts(MONITORING / "alerts.yml") | of_dashboard(MONITORING / "dashboard.json")
    assert len(expressions) > 20
    async with (
        serve_origin({"/0": origins.body(photo(0))}) as origin,
        serve_receiver() as receiver,
        services({**environment, **FAST}, tmp_path) as system,
    ):
        for service in system.values():
            await service.start()
        request_id = await upload(
            system["ingest"], csv_of([origin.url("/0"), origin.url("/gone")]), receiver.url("/hook")
        )
        await until_ended(system["ingest"], request_id)
        unanswered: list[str] = []

        async def answered() -> bool:
            samples = await _exposed(system)
            unanswered[:] = [
                f"{name}: {problem}" for name, text in expressions.items() for problem in problems(text, samples)
            ]
            return bool(receiver.received) and not unanswered

        try:
            await eventually(answered)
        except TimeoutError:
            assert unanswered == []
            raise


async def test_what_worker_processes_count_is_told_by_their_supervisor(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """The watcher's one address tells of the images of all its worker processes: none is missing, none counts twice."""
    urls = 40
    picture = origins.body(photo(0))
    async with (
        serve_origin({f"/{n}": picture for n in range(urls)}) as origin,
        services({**environment, **FAST}, tmp_path) as system,
    ):
        await system["ingest"].start()
        await system["watcher"].start()
        request_id = await upload(system["ingest"], csv_of([origin.url(f"/{n}") for n in range(urls)]))
        await until_ended(system["ingest"], request_id)
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"{system['watcher'].url}/metrics")).text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(lines['imagepress_images_total{code="",outcome="succeeded"}']) == urls
    assert float(lines['imagepress_stage_seconds_count{stage="compress"}']) == urls
    assert float(lines['imagepress_requests_ended_total{status="completed"}']) == 1
