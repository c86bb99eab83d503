"""What must hold of the CSV reader for every file there can be."""

from __future__ import annotations

import io

from services.ingest.csv_header import COLUMNS
from services.ingest.csv_rows import FILE, MAX_SERIAL_NUMBER, Problem, Row, check, read_rows

VALID = (
    b"S. No.,Product Name,Input Image Urls\n"
    b"1,SKU1,https://picsum.photos/200/300, https://picsum.photos/200/301\n"
    b'2,"a ""b""\nc",http://a/w_1,h_2.jpg\n'
    b'3,SKU3,"https://picsum.photos/200/303,https://picsum.photos/200/304"\n'
)


def read(data: bytes, encoding: str | None = None) -> list[Row | Problem]:
    return list(read_rows(io.BytesIO(data), encoding=encoding))


def assert_sound(data: bytes, encoding: str | None = None) -> None:
    """Assert what holds for every reading: storable rows, clear problems, and a problem of the file at the end only."""
    items = read(data, encoding)
    for item in items:
        assert item.line >= 1
        if isinstance(item, Row):
            assert 0 <= item.serial_number <= MAX_SERIAL_NUMBER
            assert 1 <= len(item.product_name.encode()) <= 4096
            assert item.urls
        else:
            assert item.field in {*COLUMNS, FILE, "row"}
            assert 10 < len(item.message) < 500
            item.message.encode()
    fields = [item.field if isinstance(item, Problem) else "" for item in items]
    assert FILE not in fields or set(fields[fields.index(FILE) :]) == {FILE}
    found = check(io.BytesIO(data), encoding=encoding, max_images=2)
    assert found.rows == fields.count("")
    assert found.rows or found.problems
