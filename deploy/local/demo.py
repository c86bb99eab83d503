"""`make demo`: real photographs through the whole system, as a client sends them; all that comes back is checked."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.local import demo_catalogue, demo_report
from deploy.local.demo_servers import Receiver, serve_photos, serve_receiver
from deploy.local.mongod import MongodError
from deploy.local.processes import ServiceDied, eventually, free_port
from deploy.local.system import Ports, machine, running
from imagepress_client import ApiError, AsyncClient, Request, Unreachable

WEBHOOK_SECRET = "whsec_ZGVtby1zZWNyZXQtb2YtaW1hZ2VwcmVzcy0wMQ=="  # noqa: S105 - of this demo only, and printed
SECONDS = 120.0
INTERRUPTED = 130  # exit status, as shells have it after Ctrl-C


async def demo(folder: Path, console: Console) -> list[str]:
    """Run the main job in `folder`; return what was not as it should be."""
    ports = Ports(*(free_port() for _ in range(4)))
    # Only what is said here counts: a .env or a connection string of this machine is somebody's real installation.
    settings = {**machine(), "WEBHOOK_SECRETS": WEBHOOK_SECRET, "LOG_LEVEL": "WARNING", "SWEEP_SECONDS": "5"}
    async with (
        serve_photos() as origin,
        serve_receiver(WEBHOOK_SECRET) as receiver,
        running(folder, ports, settings, logs=True),
        AsyncClient(f"http://127.0.0.1:{ports.ingest}") as client,
    ):
        catalogue = demo_catalogue.write(folder / "catalogue.csv", origin)
        console.print(f"uploading {catalogue.path.name}: {len(catalogue.urls)} images, one of which does not exist")
        upload = await client.upload(catalogue.path, webhook_url=receiver.url)
        request = await _followed(client, upload.request_id, len(catalogue.urls), console)
        await _called(receiver)
        results = await demo_report.download(request)
        demo_report.show(request, results, receiver, console)
        return demo_report.problems(catalogue, request, results, receiver)


async def _followed(client: AsyncClient, request_id: str, total: int, console: Console) -> Request:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("compressing", total=total)
        return await client.wait(
            request_id,
            progress=lambda now: bar.update(task, completed=now.succeeded + now.failed),
            seconds=SECONDS,
        )


async def _called(receiver: Receiver) -> None:
    async def received() -> bool:
        return bool(receiver.calls or receiver.forged)

    try:
        await eventually(received, SECONDS)
    except TimeoutError as error:
        raise TimeoutError(f"the request has ended, but no webhook came within {SECONDS:g} s") from error


async def _until_told(folder: Path, console: Console) -> list[str]:
    """Run the demo; SIGTERM ends it as Ctrl-C does, so that nothing stays behind."""
    running_demo = asyncio.ensure_future(demo(folder, console))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running_demo.cancel)
    return await running_demo


def main() -> int:
    """Run the demo; return 0 if everything was as it should be."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        with tempfile.TemporaryDirectory(prefix="imagepress-demo-") as folder:
            problems = asyncio.run(_until_told(Path(folder), console))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("[red]interrupted[/]")
        return INTERRUPTED
    except (MongodError, ServiceDied, TimeoutError, ApiError, Unreachable) as error:
        console.print(f"[red]the demo could not run:[/] {escape(str(error))}")
        return 1
    for problem in problems:
        console.print(f"[red]not as it should be:[/] {escape(problem)}")
    if not problems:
        console.print(
            "[green]all checked: every image, its size, the order, the counts, the failure and the webhook[/]"
        )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
