"""What must hold after each step of the model: what was seen once stays so, and what has ended adds up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from imagepress.documents import ACTIVE, OPEN, BatchStatus, ImageStatus, RequestStatus, WebhookState

Document = dict[str, Any]

IMAGES: Final = 8  # two batches


@dataclass
class Seen:
    """What was seen once and may never change."""

    ends: dict[int, Document] = field(default_factory=dict)
    """By run."""
    completed: dict[tuple[str, int], Document] = field(default_factory=dict)
    """By batch and run."""
    succeeded: dict[tuple[int, int], str] = field(default_factory=dict)
    """Stored blob by place."""

    def check(self, request: Document, batches: list[Document]) -> None:
        """Compare a request and its batches with what was seen before."""
        images = [(row["row"], image) for batch in batches for row in batch["rows"] for image in row["images"]]
        assert sorted((row, image["n"]) for row, image in images) == [(row, 0) for row in range(IMAGES)]
        for row, image in images:
            if image.get("status") == ImageStatus.SUCCEEDED:
                self.succeeded.setdefault((row, image["n"]), image["blob"])
            else:
                assert (row, image["n"]) not in self.succeeded, f"row {row} had succeeded, and has not any more"
        for batch in batches:
            if batch["status"] == BatchStatus.COMPLETED:
                first = self.completed.setdefault((batch["_id"], batch["run"]), batch)
                assert batch["rows"] == first["rows"], "a batch was completed twice"
        if request["status"] not in ACTIVE:
            self._check_end(request, batches)

    def _check_end(self, request: Document, batches: list[Document]) -> None:
        told = {name: request[name] for name in ("status", "images", "bytes", "ended_at", "webhook")}
        if request["run"] in self.ends:
            assert told == self.ends[request["run"]], "a run ended twice"
            return
        self.ends[request["run"]] = told
        assert request["webhook"]["state"] == WebhookState.DUE
        assert not [batch["_id"] for batch in batches if batch["status"] in OPEN], "ended with an open batch"
        statuses = [image.get("status") for batch in batches for row in batch["rows"] for image in row["images"]]
        recount = {"succeeded": statuses.count(ImageStatus.SUCCEEDED), "failed": statuses.count(ImageStatus.FAILED)}
        assert request["images"] == {"total": IMAGES, **recount}, "totals differ from the recount"
        assert request["status"] == RequestStatus.CANCELLED or None not in statuses, "ended with images not done"
