"""What a request must have come to, whatever happened meanwhile: status, files and webhook say the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.support.calls import until_ended
from tests.support.processes import Service, eventually
from tests.support.receiver import Receiver


async def is_exact(
    system: Mapping[str, Service], request_id: str, receiver: Receiver, folder: Path, *, images: int
) -> None:
    """Wait for the end of a request whose `images` all succeed, and for its webhook; compare with the stored files."""
    status = await until_ended(system["ingest"], request_id)
    assert status["status"] == "completed"
    assert status["images"] == {"total": images, "succeeded": images, "failed": 0}
    links = [link for row in status["details"] for link in row["output_image_urls"]]
    stored = {path.relative_to(folder).as_posix() for path in (folder / request_id).rglob("*.jpg")}
    assert {link.partition("/compressed_images/")[2] for link in links} == stored

    async def called() -> bool:
        return any(call.json["request_id"] == request_id for call in receiver.received)

    await eventually(called)
