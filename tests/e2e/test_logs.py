"""What the services say: one line for each thing that happens, with the request's id, and no secret in any of them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import httpx

from imagepress.mongo import Database
from tests.support import origin as origins
from tests.support.object_store import ObjectStore
from tests.support.origin import serve_origin
from tests.support.pictures import photo
from tests.support.processes import FAST, eventually, services
from tests.support.receiver import serve_receiver
from tests.support.uploads import csv_of

SECRETS = {
    "mongo": "mongo-s3cret",
    "key": "key-s3cret-of-the-shop",
    "webhook": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "store": ObjectStore.secret,
    "image": "image-s3cret",
    "token": "signature-s3cret",
    "hook": "hook-s3cret",
}
USER = "imagepress"
HEADERS = {"Authorization": f"Bearer {SECRETS['key']}"}


async def test_a_whole_run_is_told_line_by_line_without_a_secret(
    environment: dict[str, str], database: Database, object_store: ObjectStore, tmp_path: Path
) -> None:
    """With secrets in every setting and URL, at DEBUG: each event once, with its request, and no secret anywhere."""
    await database.client.admin.command("createUser", USER, pwd=SECRETS["mongo"], roles=["root"])
    settings = {
        **environment,
        **FAST,
        **object_store.environment(environment["DATABASE_NAME"]),
        "MONGO_CONNECTION_STRING": environment["MONGO_CONNECTION_STRING"].replace(
            "mongodb://", f"mongodb://{USER}:{SECRETS['mongo']}@"
        ),
        "API_KEYS": f"shop:{SECRETS['key']}",
        "WEBHOOK_SECRETS": f"whsec_{SECRETS['webhook']}",
        "LOG_LEVEL": "DEBUG",
    }
    try:
        async with (
            serve_origin({"/0": origins.body(photo(0))}) as origin,
            serve_receiver(origins.in_turn(origins.status(500), origins.status(200))) as receiver,
            services(settings, tmp_path) as system,
        ):
            await asyncio.gather(*(service.start() for service in system.values()))
            bad = f"http://user:{SECRETS['image']}@127.0.0.1:{origin.port}/gone"
            urls = [origin.url("/0"), bad, origin.url(f"/gone?token={SECRETS['token']}")]
            hook = f"http://user:{SECRETS['hook']}@127.0.0.1:{receiver.port}/hook"
            async with httpx.AsyncClient(base_url=system["ingest"].url, headers=HEADERS, timeout=60) as client:
                files = {"file": ("c.csv", csv_of(urls))}
                answer = await client.post("/api/upload", files=files, data={"webhook_url": hook})
                request_id = answer.json()["request_id"]

                async def delivered() -> bool:
                    status = await client.get("/api/status", params={"request_id": request_id})
                    return bool(status.json()["webhook"]["state"] == "delivered")

                await eventually(delivered)
    finally:
        await database.client.admin.command("dropUser", USER)
    said = {name: (tmp_path / f"{name}.log").read_text() for name in ("ingest", "watcher", "notifier")}
    leaked = [(name, what) for name, text in said.items() for what, secret in SECRETS.items() if secret in text]
    assert leaked == []
    lines = [json.loads(line) for text in said.values() for line in text.splitlines()]
    assert all({"event", "level", "service", "timestamp"} <= line.keys() for line in lines)
    of_request = Counter(line["event"] for line in lines if line.get("request_id") == request_id)
    assert of_request == {
        "upload accepted": 1,
        "image failed": 2,
        "request ended": 1,
        "webhook retried": 1,
        "webhook delivered": 1,
    }
