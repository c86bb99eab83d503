"""Each image of a request has exactly one outcome: the one that its picture allows, and the right file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.facts import Facts, ImageFact, Place, Planned, RequestFact
from tests.chaos.ledger.violations import Kind, Violation


def check_images(request: RequestFact, planned: Planned, facts: Facts) -> Iterator[Violation]:
    """Yield what is wrong with the images of one request."""
    images: dict[Place, list[ImageFact]] = defaultdict(list)
    spared = {place for place, _ in never_done(request)}
    for batch in request.batches:
        for image in batch.images:
            images[image.place].append(image)
    for place in images.keys() - planned.pictures.keys():
        yield Violation(Kind.DOUBLE_COUNTED, f"{request.id} {place}", "an image that was not in the file")
    for place, number in planned.pictures.items():
        where = f"{request.id} {place}"
        found = images.get(place, [])
        if not found:
            yield Violation(Kind.LOST, where, "the image is in no batch")
        elif len(found) > 1:
            yield Violation(Kind.DOUBLE_COUNTED, where, f"the image is in {len(found)} batches")
        elif place not in spared:
            yield from _image(found[0], where, None if number in planned.gone else number, facts)


def never_done(request: RequestFact) -> Iterator[tuple[Place, str]]:
    """Yield the images that a cancellation was quicker than: place, and how their file would be called.

    A worker may have stored the file before it was told, and a later run would find it there.
    """
    for batch in request.batches:
        for image in batch.images:
            if request.status == batch.status == "cancelled" and image.status is None:
                row, n = image.place
                yield image.place, f"{request.id}/{row:06}-{n:02}-"


def _image(image: ImageFact, where: str, number: int | None, facts: Facts) -> Iterator[Violation]:
    """Check one outcome; `number` is None for a picture that the origin does not have."""
    if image.status is None:
        yield Violation(Kind.LOST, where, "the image has no outcome")
    elif image.status == "failed":
        if number is not None:
            yield Violation(Kind.LOST, where, f"failed with {image.code}, though the origin has it")
        elif image.code != "http_404":
            yield Violation(Kind.LOST, where, f"failed with {image.code} instead of http_404")
    elif number is None:
        yield Violation(Kind.WRONG_IMAGE, where, f"succeeded as {image.blob}, though the origin does not have it")
    elif image.blob is None or image.blob not in facts.files:
        yield Violation(Kind.LOST, where, f"there is no file {image.blob}")
    elif facts.files[image.blob] != number:
        yield Violation(Kind.WRONG_IMAGE, where, f"{image.blob} shows {facts.files[image.blob]} instead of {number}")
