"""One claimed batch: its images are worked on side by side, and their outcomes collected in its rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from imagepress import logs, tracing
from imagepress.documents import ImageStatus
from imagepress.errors import ImageError, ImageErrorCode, StorageUnavailable
from services.watcher.image import Place, Tools, deliver, failure
from services.watcher.queries import Claimed, Progress

log = logs.get(__name__)
Document = dict[str, Any]


@dataclass(slots=True)
class BatchRun:
    """A batch being worked on: its rows fill with outcomes; `left` images have none yet."""

    batch: Claimed
    left: int
    isolated: bool = False
    """Whether a process of its own works on it (quarantine)."""
    refusal: str = ""
    """Why the image store refused one of its images, as clients may read it."""
    losses: int = 0
    """How often the image store had lost something (`Blobs.losses`) when nothing of this claim was in it yet."""
    settled: list[Document] = field(default_factory=list)
    """The images that this claim has brought to an end, and for which the store has not been asked yet."""
    earlier: dict[Place, Document] = field(default_factory=dict)
    """What had become, in an earlier run of the request, of images that are open again."""

    @property
    def rows(self) -> list[Document]:
        """The rows of the batch, as they will be written."""
        return self.batch.rows

    def copied_rows(self) -> list[Document]:
        """Return the rows as they are to be written now, while outcomes go on coming.

        An image that is open again keeps its earlier outcome there until it has a new one: a cancellation leaves that.
        """
        return [{**row, "images": [self._known(row["row"], image) for image in row["images"]]} for row in self.rows]

    def _known(self, row: int, image: Document) -> Document:
        if "status" in image or not self.earlier:
            return image.copy()
        return {**image, **self.earlier.get(Place(row, image["n"]), {})}

    def open_images(self) -> list[tuple[Place, Document]]:
        """Return the images without an outcome, and where they stand."""
        return [
            (Place(row["row"], image["n"]), image)
            for row in self.rows
            for image in row["images"]
            if "status" not in image
        ]

    def settle(self, image: Document, outcome: Document) -> None:
        """Write an outcome into its image."""
        image.update(outcome)
        self.settled.append(image)
        self.left -= 1

    def take_back(self, refusal: str) -> None:
        """Open the images again that this claim has stored: the store cannot answer for them."""
        for image in self.settled:
            if image.get("status") == ImageStatus.SUCCEEDED:
                _open_again(image)
                self.left += 1
        self.settled.clear()
        self.refusal = refusal

    def progress(self) -> Progress:
        """Add up the outcomes so far."""
        images = [image for row in self.rows for image in row["images"] if "status" in image]
        good = [image for image in images if image["status"] == ImageStatus.SUCCEEDED]
        return Progress(
            succeeded=len(good),
            failed=len(images) - len(good),
            bytes_in=sum(image["bytes_in"] for image in good),
            bytes_out=sum(image["bytes_out"] for image in good),
        )


def begin(batch: Claimed, *, losses: int = 0) -> BatchRun:
    """Start on a claimed batch: what failed in an earlier run of the request is open again.

    `losses` are those of the image store at this moment.
    """
    run = BatchRun(batch, left=0, losses=losses)
    for row in batch.rows:
        for image in row["images"]:
            if image.get("status") == ImageStatus.FAILED and image.get("run") != batch.run:
                run.earlier[Place(row["row"], image["n"])] = _open_again(image)
            run.left += "status" not in image
    return run


def _open_again(image: Document) -> Document:
    """Take its outcome from an image; return that."""
    return {name: image.pop(name) for name in image.keys() - {"n", "url"}}


async def work(run: BatchRun, tools: Tools, *, concluded: Callable[[], None]) -> None:
    """Work on every open image at once, within what the process allows; return when all have ended.

    The same URL twice in a batch is fetched and compressed once. `concluded` is called after each outcome. Raises
    `CodecStuck`. May be cancelled at any point: the outcomes so far stand in the rows.
    """
    same: dict[str, list[tuple[Place, Document]]] = {}
    for place, image in run.open_images():
        same.setdefault(image["url"], []).append((place, image))
    try:
        async with asyncio.TaskGroup() as tasks:
            for url, images in same.items():
                tasks.create_task(see_to(run, url, images, tools, concluded), name=f"image of {run.batch.id}")
    except ExceptionGroup as group:  # the first one tells why; the group cancelled the others
        raise group.exceptions[0] from None
    finally:
        tools.tally.flush()


def image_span(batch: Claimed) -> AbstractContextManager[Any]:
    """Return the span of an image, below that of the upload."""
    return tracing.span("image", parent=batch.traceparent, request_id=batch.request_id, batch=batch.id)


async def see_to(
    run: BatchRun,
    url: str,
    images: list[tuple[Place, Document]],
    tools: Tools,
    concluded: Callable[[], None],
) -> None:
    """Bring the images of one URL to their end, a success or a failure with its reason, unless the store refuses.

    Raises `CodecStuck`.
    """
    batch = run.batch
    try:
        with image_span(batch):
            outcomes = await deliver(
                url,
                [place for place, _ in images],
                request_id=batch.request_id,
                options=batch.options,
                turn_of=batch.id,
                tools=tools,
            )
    except ImageError as error:
        log.info("image failed", request_id=batch.request_id, code=error.code, reason=error.message)
        outcomes = [failure(error, batch.run) for _ in images]
    except StorageUnavailable as error:
        run.refusal = error.reason
        return  # it keeps no outcome, so the batch rests and is claimed again
    for (_, image), outcome in zip(images, outcomes, strict=True):
        run.settle(image, outcome)
    concluded()


def fail_refused(run: BatchRun) -> None:
    """Fail what the store refused until the last claim."""
    message = f"the image store refused it again and again, the last time because: {run.refusal}"
    error = ImageError(ImageErrorCode.STORAGE, message)
    for _, image in run.open_images():
        run.settle(image, failure(error, run.batch.run))
