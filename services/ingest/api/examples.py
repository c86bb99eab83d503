"""Examples that the API's documentation shows."""

from __future__ import annotations

from typing import Any, Final

REQUEST_ID: Final = "6f1c1f0a-6f3e-4e0e-9a59-0d8f7f0f4b57"

CSV: Final = "S. No.,Product Name,Input Image Urls\n1,SKU1,https://picsum.photos/200/300\n"

STATUS: Final[dict[str, Any]] = {
    "request_id": REQUEST_ID,
    "status": "completed",
    "created_at": "2026-11-24T10:00:00Z",
    "started_at": "2026-11-24T10:00:00.012Z",
    "ended_at": "2026-11-24T10:00:00.498Z",
    "images": {"total": 2, "succeeded": 1, "failed": 1},
    "bytes": {"input": 512_000, "output": 96_000},
    "links": {
        "result_csv": f"http://localhost:8000/api/requests/{REQUEST_ID}/result.csv",
        "images_zip": f"http://localhost:8000/api/requests/{REQUEST_ID}/images.zip",
    },
    "webhook": {"state": "delivered", "tries": 1, "next_attempt_at": None},
    "details": [
        {
            "serial_number": 1,
            "product_name": "SKU1",
            "input_image_urls": ["https://picsum.photos/200/300", "https://picsum.photos/200/nothing"],
            "output_image_urls": [
                f"http://localhost:8000/compressed_images/{REQUEST_ID}/000000-00-9f86d081.jpg",
                None,
            ],
            "errors": [
                {
                    "url": "https://picsum.photos/200/nothing",
                    "code": "http_404",
                    "message": "the server answered 404",
                }
            ],
            "images": [
                {
                    "url": "https://picsum.photos/200/300",
                    "bytes_in": 512_000,
                    "bytes_out": 96_000,
                    "kept_original": False,
                }
            ],
        }
    ],
}

SUMMARY: Final = {name: value for name, value in STATUS.items() if name != "details"}
"""A request as the list and the events show it."""
