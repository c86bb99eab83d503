"""The first contract over HTTP: shapes, statuses, limits; no input whatsoever makes a 500."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from imagepress.documents import BatchStatus
from imagepress.mongo import Database
from services.ingest.settings import IngestSettings
from tests.conftest import MakeSettings
from tests.support.api import serving

CONTRACT_CSV = """S. No.,Product Name,Input Image Urls
1,SKU1,https://picsum.photos/200/300, https://picsum.photos/200/301
2,SKU2,https://picsum.photos/200/302
3,SKU3,"https://picsum.photos/200/303,https://picsum.photos/200/304"
"""
PROBLEM = "application/problem+json"


@pytest.fixture
async def api(database: Database, make_settings: MakeSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running ingest whose uploads may have 10,000 bytes and 50 images."""
    assert database is not None
    settings = make_settings(IngestSettings, max_upload_bytes=10_000, max_images=50, public_base_url="http://ip.test")
    async with serving(settings) as client:
        yield client


async def _upload(api: httpx.AsyncClient, content: str | bytes, **form: str) -> httpx.Response:
    return await api.post("/api/upload", files={"file": ("catalogue.csv", content)}, data=form)


async def test_the_example_upload_is_answered_as_the_contract_says(api: httpx.AsyncClient) -> None:
    """The contract's CSV gives a request id, `pending`, and the status URL as location."""
    answer = await _upload(api, CONTRACT_CSV, webhook_url="https://shop.example/hook")
    assert answer.status_code == 200
    assert answer.json() == {"request_id": answer.json()["request_id"], "status": "pending"}
    assert uuid.UUID(answer.json()["request_id"]).version == 4
    assert answer.headers["location"] == f"http://ip.test/api/status?request_id={answer.json()['request_id']}"


async def test_the_status_has_every_row_in_the_order_of_the_file(api: httpx.AsyncClient) -> None:
    """Before anything is done, each row shows its URLs and a null for each of them."""
    request_id = (await _upload(api, CONTRACT_CSV)).json()["request_id"]
    answer = (await api.get("/api/status", params={"request_id": request_id})).json()
    assert answer["request_id"] == request_id
    assert answer["status"] == "pending"
    assert answer["images"] == {"total": 5, "succeeded": 0, "failed": 0}
    shown = ("serial_number", "product_name", "input_image_urls", "output_image_urls")
    base = "https://picsum.photos/200"
    assert [{name: row[name] for name in shown} for row in answer["details"]] == [
        dict(zip(shown, (1, "SKU1", [f"{base}/300", f"{base}/301"], [None, None]), strict=True)),
        dict(zip(shown, (2, "SKU2", [f"{base}/302"], [None]), strict=True)),
        dict(zip(shown, (3, "SKU3", [f"{base}/303", f"{base}/304"], [None, None]), strict=True)),
    ]


async def test_rows_that_continue_in_the_next_batch_come_whole(api: httpx.AsyncClient) -> None:
    """One row of 40 URLs lies in several batches, and is one row again in the status; paging cuts by rows."""
    urls = [f"http://h.example/{n}.jpg" for n in range(40)]
    text = f"S. No.;Product Name;Input Image Urls\n7;a;http://h.example/first\n8;b;{';'.join(urls)}\n9;c;http://h.example/z\n"
    request_id = (await _upload(api, text)).json()["request_id"]
    whole = (await api.get("/api/status", params={"request_id": request_id})).json()["details"]
    assert [row["serial_number"] for row in whole] == [7, 8, 9]
    assert whole[1]["input_image_urls"] == urls
    for offset, limit in ((0, 1), (1, 1), (1, 2), (2, 5), (3, 1)):
        page = {"request_id": request_id, "offset": offset, "limit": limit}
        assert (await api.get("/api/status", params=page)).json()["details"] == whole[offset : offset + limit]


@pytest.mark.parametrize(
    ("request_id", "status"), [(str(uuid.uuid4()), 404), ("7", 422), ("", 422), ("x" * 5000, 422), ("\x00", 422)]
)
async def test_a_status_that_cannot_be_given_says_why(api: httpx.AsyncClient, request_id: str, status: int) -> None:
    """An unknown request is 404, and what is no UUID is 422, as problem documents."""
    answer = await api.get("/api/status", params={"request_id": request_id})
    assert answer.status_code == status
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json()["status"] == status


@pytest.mark.parametrize(
    ("content", "line", "field"),
    [
        (b"", None, "file"),
        (b"S. No.,Product Name,Input Image Urls\n", None, "file"),
        (b"S. No.,Product Name\n1,x\n", 1, None),
        (b"S. No.,Product Name,Price\n1,x,http://h.example/a\n", 1, None),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), None, "file"),
        ("S. No.,Product Name,Input Image Urls\n1,Bögen,http://h.example/a\n".encode("cp1252"), None, None),
        (b"S. No.,Product Name,Input Image Urls\n1,a\x00b,http://h.example/a\n", 2, None),
        (b'S. No.,Product Name,Input Image Urls\n1,"never closed,http://h.example/a\n', 2, None),
        (b"S. No.,Product Name,Input Image Urls\n1,a,http://h.example/a\n-1,b,http://h.example/a\n", 3, "S. No."),
        (b"S. No.,Product Name,Input Image Urls\n99999999999999999999,b,http://h.example/a\n", 2, "S. No."),
        (b"S. No.,Product Name,Input Image Urls\n1,,http://h.example/a\n", 2, "Product Name"),
        (b"S. No.,Product Name,Input Image Urls\n1,a,\n", 2, "Input Image Urls"),
        (b"S. No.,Product Name,Input Image Urls\n1,a,http:///nohost\n", 2, "Input Image Urls"),
        (b"S. No.,Product Name,Input Image Urls\n1,a,ftp://h.example/a\n", 2, "Input Image Urls"),
        ("S. No.,Product Name,Input Image Urls\n" + "1,a,http://h.example/a\n" * 51, None, None),
    ],
)
async def test_a_bad_file_is_refused_with_its_problems_and_nothing_is_stored(
    api: httpx.AsyncClient, database: Database, content: str | bytes, line: int | None, field: str | None
) -> None:
    """Each kind of bad file is a 422 that lists problems by line, and leaves no document behind."""
    answer = await _upload(api, content)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == PROBLEM
    errors = answer.json()["errors"]
    assert errors
    assert all(error["message"] for error in errors)
    if line is not None:
        assert errors[0]["line"] == line
    if field is not None:
        assert errors[0]["field"] == field
    assert await database.requests.count_documents({}) == 0
    assert await database.batches.count_documents({}) == 0


async def test_only_the_first_hundred_problems_are_listed_and_all_are_counted(
    database: Database, make_settings: MakeSettings
) -> None:
    """A file of 250 bad lines tells the number of all problems and lists 100."""
    assert database is not None
    async with serving(make_settings(IngestSettings)) as api:
        answer = await _upload(api, "S. No.,Product Name,Input Image Urls\n" + "x,a,http://h.example/a\n" * 250)
    assert "250" in answer.json()["detail"]
    assert len(answer.json()["errors"]) == 100


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.2:1/x", "ftp://h.example/", "h.example/x", "http://", "http://10.0.0.1/"),
        "http://[::ffff:10.0.0.1]/",
        *(
            "http://0x0a000001/",
            "http://169.254.169.254/latest",
            "http://h.example:22/",
            "http://h.example/" + "x" * 2048,
        ),
    ],
)
async def test_a_webhook_url_that_may_not_be_called_is_refused(
    database: Database, make_settings: MakeSettings, url: str
) -> None:
    """Literal forbidden addresses, other schemes and missing hosts are refused at upload, and nothing is stored."""
    async with serving(make_settings(IngestSettings, allowed_networks=())) as api:
        answer = await _upload(api, CONTRACT_CSV, webhook_url=url)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "webhook_url"
    assert await database.requests.count_documents({}) == 0


async def test_an_upload_without_a_file_says_which_field_is_missing(api: httpx.AsyncClient) -> None:
    """A multipart body without `file`, or no multipart at all, is a 422 that names the field."""
    for answer in (await api.post("/api/upload", data={"x": "y"}), await api.post("/api/upload", content=b"plain")):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "file"


async def test_a_body_over_the_limit_is_refused_announced_or_not(api: httpx.AsyncClient, database: Database) -> None:
    """413 for a large upload, whether its length is announced or it streams in without one."""
    large = CONTRACT_CSV.encode() + b"9,x,http://h.example/a\n" * 5000
    announced = await _upload(api, large)

    async def pieces() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
        for start in range(0, len(large), 4096):
            yield large[start : start + 4096]
        yield b"\r\n--b--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    streamed = await api.post("/api/upload", content=pieces(), headers=kind)
    for answer in (announced, streamed):
        assert answer.status_code == 413
        assert answer.headers["content-type"] == PROBLEM
    assert await database.requests.count_documents({}) == 0


@pytest.mark.parametrize(
    "body",
    [b"", b"--", b"--b\r\n", b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nno filename\r\n--b--\r\n'],
)
async def test_a_broken_multipart_body_is_no_server_error(api: httpx.AsyncClient, body: bytes) -> None:
    """A body that is not what its header says is a 4xx problem."""
    answer = await api.post("/api/upload", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == PROBLEM


async def test_the_webhook_test_answers_with_what_it_got(api: httpx.AsyncClient) -> None:
    """The contract's example is echoed, equal as JSON."""
    payload = {"request_id": "6f1c1f0a-6f3e-4e0e-9a59-0d8f7f0f4b57", "status": "completed"}
    answer = await api.post("/api/webhook-test", json=payload)
    assert answer.status_code == 200
    assert answer.json() == {"message": "Webhook received", "receivedPayload": payload}


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"1", b'"x"', b"{", b'{"a": NaN}', b'{"a": 1e999}', b"\xff\xfe", b"[" * 100_000),
        *(b'{"a":' * 5000, b'{"a": ' + b"9" * 5000 + b"}", b'{"a": ' + b" " * 1_000_000 + b"1}"),
    ],
)
async def test_what_is_no_json_object_is_refused(api: httpx.AsyncClient, body: bytes) -> None:
    """Whatever else is sent to the test receiver is a 4xx problem, never a 500."""
    answer = await api.post("/api/webhook-test", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (413, 422)
    assert answer.headers["content-type"] == PROBLEM


async def test_odd_but_legal_json_is_echoed(api: httpx.AsyncClient) -> None:
    """Lone surrogates in escapes and large numbers are JSON, and come back as they were."""
    body = '{"a": "\\ud800", "b": 123456789012345678901234567890, "c": -0.0}'
    answer = await api.post("/api/webhook-test", content=body.encode())
    assert json.loads(answer.text)["receivedPayload"] == json.loads(body)


async def test_unknown_routes_and_methods_are_problems(api: httpx.AsyncClient) -> None:
    """404 and 405 are problem documents, too."""
    for answer, status in ((await api.get("/nothing"), 404), (await api.delete("/api/upload"), 405)):
        assert answer.status_code == status
        assert answer.headers["content-type"] == PROBLEM


async def test_the_documentation_is_complete(api: httpx.AsyncClient) -> None:
    """Docs and redoc are served; every operation has an id, a summary, and says which errors it answers with."""
    for page in ("/docs", "/redoc"):
        assert (await api.get(page)).status_code == 200
    document = (await api.get("/openapi.json")).json()
    operations = {
        f"{method} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    promised = {"post /api/upload", "get /api/status", "get /compressed_images/{path}", "post /api/webhook-test"}
    assert promised <= set(operations)
    for name, operation in operations.items():
        assert operation["operationId"], name
        assert operation["summary"], name
    assert {"200", "413", "422", "503"} <= set(operations["post /api/upload"]["responses"])
    assert "Problem" in document["components"]["schemas"]
    _resolve_references(document, document)


def _resolve_references(node: Any, document: dict[str, Any]) -> None:
    """Follow every `$ref`, so that none points nowhere."""
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            target: Any = document
            for part in reference.removeprefix("#/").split("/"):
                target = target[part]
        for value in node.values():
            _resolve_references(value, document)
    elif isinstance(node, list):
        for value in node:
            _resolve_references(value, document)


async def test_images_are_served_with_ranges_and_etags(api: httpx.AsyncClient, make_settings: MakeSettings) -> None:
    """A stored image has its type, an ETag and no end of caching; ranges, 304 and 416 follow RFC 9110."""
    from imagepress.blobs import Blobs

    content = bytes(range(256)) * 10
    path = f"{uuid.uuid4()}/000000-00-0123abcd.jpg"
    await Blobs(make_settings(IngestSettings).storage_url).put(path, content)
    url = f"/compressed_images/{path}"
    whole = await api.get(url)
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, content, "image/jpeg")
    assert "immutable" in whole.headers["cache-control"]
    etag = whole.headers["etag"]
    assert (await api.get(url, headers={"If-None-Match": etag})).status_code == 304
    for asked, expected in (("bytes=0-9", content[:10]), ("bytes=-5", content[-5:]), ("bytes=2550-", content[2550:])):
        part = await api.get(url, headers={"Range": asked})
        assert (part.status_code, part.content) == (206, expected)
    assert (await api.get(url, headers={"Range": "bytes=9999-"})).status_code == 416
    assert (await api.get(url, headers={"Range": "bytes=5-2"})).status_code == 200
    assert (await api.get(url, headers={"Range": "bytes=0-1", "If-Range": '"other"'})).status_code == 200
    head = await api.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(content)))


@pytest.mark.parametrize(
    "path",
    [
        *("x", "../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "a" * 3000, "%00.jpg"),
        f"{uuid.uuid4()}/000000-00-0123abcd.jpg",
    ],
)
async def test_no_other_file_can_be_read(api: httpx.AsyncClient, path: str) -> None:
    """What is not the path of a stored image is a 404, traversal included."""
    answer = await api.get(f"/compressed_images/{path}")
    assert answer.status_code == 404


async def test_health_and_metrics_are_served(api: httpx.AsyncClient) -> None:
    """The service is alive, ready, and counts uploads."""
    await _upload(api, CONTRACT_CSV)
    assert (await api.get("/livez")).json() == {"status": "alive"}
    assert (await api.get("/readyz")).json() == {"status": "ready", "problems": {}}
    assert 'imagepress_uploads_total{outcome="accepted"}' in (await api.get("/metrics")).text


async def test_after_the_last_batch_the_status_shows_links_and_reasons(
    api: httpx.AsyncClient, database: Database
) -> None:
    """Outcomes stand beside their URLs: a link for a success, null and an error for a failure."""
    request_id = (await _upload(api, CONTRACT_CSV)).json()["request_id"]
    async for batch in database.batches.find({"request_id": request_id}):
        for row in batch["rows"]:
            for image in row["images"]:
                image |= {"status": "succeeded", "blob": f"{request_id}/x.jpg", "bytes_in": 9, "bytes_out": 3}
                image["kept_original"] = False
        if batch["seq"] == 0:
            failed = batch["rows"][0]["images"][1]
            failed.pop("blob")
            failed |= {"status": "failed", "error": {"code": "http_404", "message": "gone"}}
        await database.batches.replace_one({"_id": batch["_id"]}, {**batch, "status": BatchStatus.COMPLETED})
    details = (await api.get("/api/status", params={"request_id": request_id})).json()["details"]
    assert details[0]["output_image_urls"] == [f"http://ip.test/compressed_images/{request_id}/x.jpg", None]
    assert details[0]["errors"] == [{"url": "https://picsum.photos/200/301", "code": "http_404", "message": "gone"}]
    assert details[0]["images"] == [
        {"url": "https://picsum.photos/200/300", "bytes_in": 9, "bytes_out": 3, "kept_original": False}
    ]
