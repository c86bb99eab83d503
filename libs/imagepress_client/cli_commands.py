"""The subcommands: each makes its calls, shows what came of them, and returns whether all went well."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from imagepress_client.calls import Options
from imagepress_client.cli_show import Show
from imagepress_client.client import Client
from imagepress_client.model import Request

Command = Callable[[Client, Namespace, Show], bool]

DOWNLOADS: Final = 8  # at once: enough to hide each answer's latency, few enough to leave a service to others
LARGEST_PAGE: Final = 200
_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,200}")


class UnsafeName(Exception):
    """The service gave an image a name that could lead out of the folder."""


def submit(client: Client, given: Namespace, show: Show) -> bool:
    """Upload the file, and wait for its end where that is wished."""
    options = Options(
        quality=given.quality,
        format=given.format,
        max_width=given.max_width,
        on_error="skip" if given.skip_bad_rows else None,
        encoding=given.encoding,
    )
    upload = client.upload(given.csv, webhook_url=given.webhook, options=options)
    show.accepted(upload)
    if _waits(given):
        return _outcome(client, upload.request_id, given, show)
    show.document(asdict(upload))
    return True


def status(client: Client, given: Namespace, show: Show) -> bool:
    """Show how far a request is, its failed images too."""
    if _waits(given):
        return _outcome(client, given.request_id, given, show)
    return _shown(client.status(given.request_id), show)


def listing(client: Client, given: Namespace, show: Show) -> bool:
    """Show the newest requests, from as many pages as they stand on."""
    found: list[Request] = []
    cursor: str | None = None
    while True:
        size = min(given.limit - len(found), LARGEST_PAGE)
        page = client.list(status=given.status, cursor=cursor, limit=size)
        found += page.requests
        cursor = page.next
        if cursor is None or len(found) >= given.limit:
            break
    show.requests(found, more=cursor is not None)
    show.document({"requests": [request.raw for request in found], "next": cursor})
    return True


def cancel(client: Client, given: Namespace, show: Show) -> bool:
    """Stop a request."""
    client.cancel(given.request_id)
    show.say("cancelled; images that were done stay")
    show.document({"request_id": given.request_id, "status": "cancelled"})
    return True


def retry(client: Client, given: Namespace, show: Show) -> bool:
    """Run again what failed, and wait for its end where that is wished."""
    images = client.retry(given.request_id)
    show.say(f"{images:,} {'image runs' if images == 1 else 'images run'} again")
    if _waits(given):
        return _outcome(client, given.request_id, given, show)
    show.document({"request_id": given.request_id, "status": "pending", "images": images})
    return True


COMMANDS: Final[dict[str, Command]] = {
    "submit": submit,
    "status": status,
    "list": listing,
    "cancel": cancel,
    "retry": retry,
}


def _waits(given: Namespace) -> bool:
    return bool(given.wait or given.output or given.download)


def _outcome(client: Client, request_id: str, given: Namespace, show: Show) -> bool:
    """Wait for the end of a request, fetch what is wished, show it."""
    with show.progress("compressing") as progress:
        request = client.wait(request_id, progress=progress, seconds=given.timeout)
    if given.output:
        client.result_csv(request_id, given.output)
        show.say(f"result CSV: {given.output}")
    if given.download:
        count = download(client, request, given.download, show)
        show.say(f"{count:,} {'image' if count == 1 else 'images'}: {given.download}")
    return _shown(request, show)


def _shown(request: Request, show: Show) -> bool:
    show.request(request)
    show.document(request.raw)
    return not request.has_ended or (request.status == "completed" and not request.failed)


def download(client: Client, request: Request, folder: Path, show: Show) -> int:
    """Write the images of a request to `folder`; return their number. What is there already is not fetched again.

    A name is never given to another content by the service, so a download that was interrupted is resumed.
    """
    links = [link for row in request.rows for link in row.outputs if link]
    targets = [(link, folder / file_name(link)) for link in links]
    folder.mkdir(parents=True, exist_ok=True)
    missing = [(link, target) for link, target in targets if not target.exists()]
    with show.counted("downloading", len(missing)) as step, ThreadPoolExecutor(DOWNLOADS) as pool:
        try:
            for _ in pool.map(lambda pair: client.image(*pair), missing):
                step()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return len(targets)


def file_name(link: str) -> str:
    """Return the name that a link gives its image. Raises `UnsafeName` for one that could lead out of the folder."""
    name = urlsplit(link).path.rpartition("/")[2]
    if not _NAME.fullmatch(name):
        raise UnsafeName(f"the service gave an image the name {name!r}, which is not written to a disk")
    return name
