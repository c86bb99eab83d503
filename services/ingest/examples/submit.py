"""python submit.py catalogue.csv result.csv: upload, wait until all images are done, download the result.

With nothing but httpx, to show the calls. The client library (`pip install imagepress`) does the same in one line each.
"""

import json
import os
import sys
import time
import uuid
from pathlib import Path

import httpx

URL = os.environ.get("IMAGEPRESS_URL", "http://localhost:8000")
KEY = os.environ.get("IMAGEPRESS_KEY", "")


def upload(api: httpx.Client, csv: Path) -> str:
    """Return the request id. The key makes it harmless to repeat the call, whatever became of the first one."""
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    for seconds in (1, 2, 4, None):
        try:
            answer = api.post("/api/upload", files={"file": (csv.name, csv.read_bytes())}, headers=headers)
        except httpx.TransportError:
            if seconds is None:
                raise
        else:
            if answer.status_code not in (429, 503) or seconds is None:
                if answer.is_error:
                    sys.exit(answer.text)  # application/problem+json: `errors` names each line of the file
                return str(answer.json()["request_id"])
        time.sleep(seconds)
    raise AssertionError  # the last round returns, raises or exits


def follow(api: httpx.Client, request_id: str) -> None:
    """Show progress until the request has ended. A connection that ends without `end` broke: follow again."""
    while True:
        with api.stream("GET", f"/api/requests/{request_id}/events", timeout=45) as events:
            events.raise_for_status()
            event = ""
            for line in events.iter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    event = value
                elif name == "data" and event == "end":
                    return
                elif name == "data":
                    print(json.loads(value)["images"])  # noqa: T201 - a command that talks to a person
        time.sleep(1)


with httpx.Client(base_url=URL, headers={"Authorization": f"Bearer {KEY}"} if KEY else {}, timeout=60) as client:
    request = upload(client, Path(sys.argv[1]))
    follow(client, request)
    Path(sys.argv[2]).write_bytes(client.get(f"/api/requests/{request}/result.csv").raise_for_status().content)
