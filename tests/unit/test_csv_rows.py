"""Files to rows and problems, case by case."""

from __future__ import annotations

import io

import pytest

from services.ingest import csv_rows
from services.ingest.csv_records import MAX_CELL_CHARACTERS
from services.ingest.csv_rows import PROBLEMS_LISTED, Checked, Problem, Row, check, read_rows

HEADER = "S. No.,Product Name,Input Image Urls"


def read(text: str | bytes, encoding: str | None = None) -> list[Row | Problem]:
    data = text.encode() if isinstance(text, str) else text
    return list(read_rows(io.BytesIO(data), encoding=encoding))


def body(text: str) -> list[Row | Problem]:
    return read(f"{HEADER}\n{text}")


def checked(text: str, max_images: int = 1000) -> Checked:
    return check(io.BytesIO(text.encode()), max_images=max_images)


def test_the_contracts_example() -> None:
    """The example of the contract reads as the contract says, spaces trimmed."""
    assert body(
        "1,SKU1,https://picsum.photos/200/300, https://picsum.photos/200/301\n"
        "2,SKU2,https://picsum.photos/200/302\n"
        '3,SKU3,"https://picsum.photos/200/303,https://picsum.photos/200/304"\n'
    ) == [
        Row(2, 1, "SKU1", ("https://picsum.photos/200/300", "https://picsum.photos/200/301")),
        Row(3, 2, "SKU2", ("https://picsum.photos/200/302",)),
        Row(4, 3, "SKU3", ("https://picsum.photos/200/303", "https://picsum.photos/200/304")),
    ]


@pytest.mark.parametrize(
    "header",
    [
        "S. No.,Product Name,Input Image Urls",
        "s no,PRODUCT_NAME,input-image-URLs",
        '"S. No.", "Product Name", "Input Image Urls"',
        "S. No.;Product Name;Input Image Urls",
        "S. No.\tProduct Name\tInput Image Urls",
        '"S. No.","Product, Name","Input;;;\nImage,Urls"',
        "S. No.,Product Name,Input Image Urls,,",
        "S. No.,Product Name,Input Image Urls,Input Image Urls,input image urls2,Input Image Urls.1",
        "\n,,,\n ; ; \n\ufeffS. No.,Product Name,Input Image Urls",
    ],
)
def test_headers(header: str) -> None:
    """Header names match whatever their case, spaces and punctuation, and tell the delimiter."""
    delimiter = max(",;\t", key=header.splitlines()[-1].count)
    line = header.count("\n") + 2
    assert read(f"{header}\n" + delimiter.join(["1", "a", "http://a/1", "http://a/2"])) == [
        Row(line, 1, "a", ("http://a/1", "http://a/2"))
    ]


@pytest.mark.parametrize(
    ("header", "messages"),
    [
        ("S. No.", ["column 2 must be Product Name, but is missing", "column 3 must be Input Image Urls"]),
        ("S. No.,Product Name", ["column 3 must be Input Image Urls, but is missing"]),
        ("S. No.,Product,Input Image Urls", ["column 2 must be Product Name, but is 'Product'"]),
        ("Product Name,S. No.,Input Image Urls", ["column 1 must be S. No.", "column 2 must be Product Name"]),
        ("S. No.,Product Name,Input Image Urls,,Price", ["unknown column 'Price'"]),
        ("S. No.|Product Name|Input Image Urls", ["column 1 must", "column 2 must", "column 3 must"]),
        ('"S. No."x,Product Name,Input Image Urls', ["text behind a closing quote"]),
        ('S. No.,"Product Name,Input Image Urls', ["never closed"]),
        (" \n,,\n", ["the file has no text"]),
        ("\ufeff", ["the file has no text"]),
    ],
)
def test_bad_headers(header: str, messages: list[str]) -> None:
    """A header that is not the contract's refuses the file, and says which column is wrong and what was expected."""
    found = read(f"{header}\n1,a,http://a/1\n" if header.strip(" ,\n\ufeff") else header)
    assert [item.field for item in found if isinstance(item, Problem)] == ["file"] * len(messages)
    for item, message in zip(found, messages, strict=True):
        assert isinstance(item, Problem)
        assert message in item.message


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("0,a,http://a", Row(2, 0, "a", ("http://a",))),
        ("9223372036854775807,a,http://a", Row(2, 2**63 - 1, "a", ("http://a",))),
        (f"{'0' * 5000}7,a,http://a", Row(2, 7, "a", ("http://a",))),
        (' 1 , "a, b",http://a', Row(2, 1, "a, b", ("http://a",))),
        ('1,17" monitor,http://a', Row(2, 1, '17" monitor', ("http://a",))),
        ('1,"17"" monitor",http://a', Row(2, 1, '17" monitor', ("http://a",))),
        ('1,"two\r\nlines",http://a', Row(2, 1, "two\r\nlines", ("http://a",))),
        ("1,$price,http://a", Row(2, 1, "$price", ("http://a",))),
        (f"1,{'é' * 1024},http://a", Row(2, 1, "é" * 1024, ("http://a",))),
        ('1,a,"http://a,\nhttp://b"', Row(2, 1, "a", ("http://a", "http://b"))),
        ("1,a,,http://a,, ,", Row(2, 1, "a", ("http://a",))),
        ("1,a,http://a/w_1,h_2.jpg", Row(2, 1, "a", ("http://a/w_1,h_2.jpg",))),
        ("\n\n,,\n , ,\n1,a,http://a", Row(6, 1, "a", ("http://a",))),
    ],
)
def test_good_rows(text: str, row: Row) -> None:
    """Rows within the contract's bounds are read, with the line of the file that they start on."""
    assert body(text) == [row]


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        (",a,http://a", "S. No.", "is missing"),
        ("x,a,http://a", "S. No.", "'x' is not a whole number"),
        ("-1,a,http://a", "S. No.", "not a whole number"),
        ("1.0,a,http://a", "S. No.", "not a whole number"),
        ("１,a,http://a", "S. No.", "not a whole number"),
        ("²,a,http://a", "S. No.", "not a whole number"),
        ("9223372036854775808,a,http://a", "S. No.", "larger than 9,223,372,036,854,775,807"),
        (f"{'9' * 5000},a,http://a", "S. No.", "larger than"),
        ("1,,http://a", "Product Name", "is missing"),
        ("1, \t ,http://a", "Product Name", "is missing"),
        (f"1,{'x' * 1025},http://a", "Product Name", "1,025 characters; 1,024 are allowed"),
        ('1,"a,http://a\n2,b,http://b\n3,c""",http://c', "Product Name", "is a quote not closed?"),
        ("1,a", "Input Image Urls", "no image URL"),
        ("1,a,, ,", "Input Image Urls", "no image URL"),
        ("1,a,ftp://a", "Input Image Urls", "only http:// and https://"),
        ("1,a,http://", "Input Image Urls", "no host"),
        ("1,a,x.jpg,http://a", "Input Image Urls", "does not begin with"),
        ('1,"a"b,http://a', "row", "text behind a closing quote"),
        ('1,"a"', "Input Image Urls", "no image URL"),
    ],
)
def test_bad_rows(text: str, field: str, message: str) -> None:
    """A bad row is a problem that names its line, its column and what is wrong, and the rows after it are read."""
    problem, row = body(f"{text}\n5,z,http://z\n")
    assert isinstance(problem, Problem)
    assert (problem.line, problem.field) == (2, field)
    assert message in problem.message
    assert isinstance(row, Row)
    assert row.line == text.count("\n") + 3


def test_all_problems_of_a_row() -> None:
    """A row with several faults has a problem for each."""
    problems = body("x,,ftp://a,http://b,http://\n")
    assert [item.field for item in problems if isinstance(item, Problem)] == [
        "S. No.",
        "Product Name",
        "Input Image Urls",
        "Input Image Urls",
    ]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('2,"b,http://b\n3,c,http://c\n', 3, "never closed"),
        ('2,"b,http://b\n3,"c",http://c\n4,d,http://d', 3, "closed only on line 4"),
        (f"2,{'b' * (MAX_CELL_CHARACTERS + 1)},http://b\n", 3, "a cell of this row is longer than 8,388,608"),
        ('2,"' + 'b\n","' * 1_050_000, 3, "the row has more than 1,000,000"),
        ('2,"' + f'{"b" * 8_000_000}\n","' * 3, 3, "the row is longer than 16,777,216"),
        ("2,b,http://b\n3,c\0,http://c\n", 4, "NUL character"),
    ],
)
def test_what_ends_the_reading(text: str, line: int, message: str) -> None:
    """Where it is unknown what a row is, the file is refused at the line where that began."""
    *rows, problem = body(f"1,a,http://a\n{text}")
    assert isinstance(problem, Problem)
    assert (problem.line, problem.field) == (line, "file")
    assert message in problem.message
    assert all(isinstance(row, Row) for row in rows)


def test_wrong_encoding_and_remedy() -> None:
    """A file in another encoding names line and byte, and is read when that encoding is named."""
    data = f"{HEADER}\n1,a,http://a\n2,é,http://b\n".encode("cp1252")
    row, problem = read(data)
    assert row == Row(2, 1, "a", ("http://a",))
    assert isinstance(problem, Problem)
    assert (problem.line, problem.field) == (3, "file")
    assert "byte 52 (0xe9) is not utf-8 text" in problem.message
    assert "`encoding`" in problem.message
    assert read(data, "cp1252")[1] == Row(3, 2, "é", ("http://b",))


def test_what_the_file_itself_raises() -> None:
    """An error of the file object is the caller's to handle: it is not taken for a fault of the CSV."""
    file = io.BytesIO(b"x")
    file.close()
    with pytest.raises(ValueError, match="closed"):
        list(read_rows(file))


def test_check_counts() -> None:
    """The first pass counts rows, images and problems, and leaves the file readable from its beginning."""
    file = io.BytesIO(f"{HEADER}\n1,a,http://a,http://b\nx,b,http://b\n3,c,http://c\n".encode())
    found = check(file, max_images=3)
    assert (found.rows, found.images, found.problem_count, found.refused) == (2, 3, 1, False)
    assert [problem.line for problem in found.problems] == [3]
    assert sum(isinstance(item, Row) for item in read_rows(file)) == 2


def test_too_many_images() -> None:
    """More images than allowed refuse the file, with both numbers and the line where the limit was passed."""
    found = checked(f"{HEADER}\n1,a,http://a\n2,b,http://b,http://c\n3,c,http://d\n", max_images=2)
    assert found.refused
    assert found.problems == [
        Problem(3, "file", "4 images are more than the 2 allowed, passed here; split the file"),
    ]


@pytest.mark.parametrize("text", ["", f"{HEADER}\n", f"{HEADER}\n\n,,\n"])
def test_no_rows(text: str) -> None:
    """A file without any row is refused."""
    found = checked(text)
    assert found.refused
    assert found.problem_count == 1


def test_first_hundred_problems() -> None:
    """The first hundred problems are listed and all are counted; one of the whole file is listed first."""
    found = checked(f"{HEADER}\n" + "x,a,http://a\n" * 150 + '1,"a')
    assert found.problem_count == 151
    assert found.refused
    assert [problem.line for problem in found.problems] == [152, *range(2, PROBLEMS_LISTED + 1)]
    header = checked("Price,Size,Colour\n")
    assert [problem.message[:8] for problem in header.problems] == ["column 1", "column 2", "column 3"]


def test_endless_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of nothing but bad rows is not read to its end, and says so."""
    monkeypatch.setattr(csv_rows, "PROBLEMS_READ", 200)
    found = checked(f"{HEADER}\n" + "x,a,http://a\n" * 500)
    assert found.refused
    assert (found.problems[0].line, found.problem_count) == (201, 201)
    assert "not read" in found.problems[0].message


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_row_of_sixty_thousand_urls(quote: str) -> None:
    """A row of 60,000 URLs of 100 characters is read, in cells of its own or in one quoted cell."""
    urls = tuple(f"https://example.org/{number:080}" for number in range(60_000))
    assert body(f"1,a,{quote}{','.join(urls)}{quote}\n") == [Row(2, 1, "a", urls)]


@pytest.mark.parametrize(
    ("blank", "leading"),
    [("\n", True), ("\r", True), (",,\n", True), ("\n", False), ("\r", False), (",,\n", False), ('""\n', False)],
)
def test_a_flood_of_blank_rows_is_refused_before_it_costs_much(
    monkeypatch: pytest.MonkeyPatch, blank: str, leading: bool
) -> None:
    """As many blank rows as allowed are passed over; one more refuses the file, at the line where it stands."""
    monkeypatch.setattr(csv_rows, "MAX_BLANK_ROWS", 100)
    before, after = ("", f"{HEADER}\n1,a,http://a\n") if leading else (f"{HEADER}\n", "1,a,http://a\n")
    assert [type(item) for item in read(before + blank * 100 + after)] == [Row]
    (problem,) = read(before + blank * 101 + after)
    assert isinstance(problem, Problem)
    assert (problem.line, problem.field) == (101 if leading else 102, "file")
    assert "more than 100 blank rows" in problem.message
