"""Cells to URLs, and what is wrong with a URL."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
import yarl
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.csv_urls import MAX_URL_CHARACTERS, joined_urls, url_fault


@pytest.mark.parametrize(
    ("cells", "delimiter", "urls"),
    [
        ([], ",", []),
        (["", "  ", ",, ,"], ",", []),
        (["http://a/1", " https://a/2 "], ",", ["http://a/1", "https://a/2"]),
        (["http://a/1, http://a/2,\nhttp://a/3,"], ";", ["http://a/1", "http://a/2", "http://a/3"]),
        (["http://a/w_1,h_2/x.jpg"], ",", ["http://a/w_1,h_2/x.jpg"]),
        (["http://a/w_1", "h_2/x.jpg", "http://b/"], ",", ["http://a/w_1,h_2/x.jpg", "http://b/"]),
        (["http://a/x;v=1,w=2", "z"], ";", ["http://a/x;v=1,w=2;z"]),
        (["http://a/x,,y"], ",", ["http://a/x,y"]),
        (["x.jpg,http://a/1"], ",", ["x.jpg", "http://a/1"]),
        (["http://a/1,ftp://b/2,s3://c/3,HTTPS://d"], ",", ["http://a/1", "ftp://b/2", "s3://c/3", "HTTPS://d"]),
        (["http://a/?u=http://b/"], ",", ["http://a/?u=http://b/"]),
    ],
)
def test_joined_urls(cells: list[str], delimiter: str, urls: list[str]) -> None:
    """Pieces are trimmed, empty ones dropped, and those without a scheme continue the URL before them."""
    assert joined_urls(cells, delimiter) == urls


def test_a_million_pieces_of_one_url() -> None:
    """A URL stops growing once it is too long, so that a cell of commas costs its length, not its square."""
    (url,) = joined_urls(["http://a/" + ",b" * 500_000], ",")
    assert MAX_URL_CHARACTERS < len(url) < MAX_URL_CHARACTERS + 10


@pytest.mark.parametrize(
    "url",
    [
        "http://a",
        "https://picsum.photos/200/300",
        "HTTP://EXAMPLE.org:8080/a.JPG?x=[1]&y=%zz#z",
        "http://user:p%20w@example.org/",
        "http://my_bucket.example.org./x",
        "http://127.0.0.1:65535/x",
        "http://[::1]:8000/x",
        "http://[::ffff:127.0.0.1]",
        "https://bücher.example/straße.jpg",
        "http://例え.テスト/画像.jpg?q=é",
        "http://①②⑦.0.0.1/",
        "http://a?x",
        "http://a#x",
        "http://a/" + "x" * (MAX_URL_CHARACTERS - 9),
    ],
)
def test_good_urls(url: str) -> None:
    """Absolute http and https URLs with a host pass: where they may lead is judged when they are fetched."""
    assert url_fault(url) is None


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("x.jpg", "does not begin with http:// or https://"),
        ("//a/x.jpg", "does not begin with"),
        ("http:/a", "does not begin with"),
        ("ftp://a/x", "begins with ftp://"),
        ("file:///etc/passwd", "begins with file://"),
        ("s3://bucket/x", "begins with s3://"),
        ("http://", "has no host"),
        ("https:///x", "has no host"),
        ("http://?x", "has no host"),
        ("http://:80/x", "has no host"),
        ("http://user@/x", "has no host"),
        ("http://a:65536/", "port above 65535"),
        ("http://a:99999/", "port above 65535"),
        ("http://a:123456/", "cannot be understood"),
        ("http://a:b/", "cannot be understood"),
        ("http://a:-1/", "cannot be understood"),
        ("http://[::1/", "cannot be understood"),
        ("http://b[::1]/", "cannot be understood"),
        ("http://[::1]b/", "cannot be understood"),
        ("http://[1.2.3.4]/", "no IPv6 address"),
        ("http://[v1.x]/", "no IPv6 address"),
        ("http://a\\@b/", "cannot be understood"),
        ("http://a\\b/", "cannot be understood"),
        ("http://a..b/", "no valid name"),
        ("http://./", "no valid name"),
        ("http://a%2fb/", "no valid name"),
        ("http://a<b>/", "no valid name"),
        (f"http://{'a' * 64}.org/", "no valid name"),
        (f"http://{'ü' * 64}.org/", "no valid name"),
        ("http://a℀b/", "no valid name"),
        ("http://e\u200bvil.org/", "an invisible character"),
        ("http://x\ufeff/", "an invisible character"),
        ("http://a/b c", "holds a space; write it as %20"),
        ("http://a/\tb", "holds the character U+0009"),
        ("http://a/b\nhttp://c/d", "holds the character U+000A"),
        ("http://a/\x7f", "holds the character U+007F"),
        ("http://a/\u2028", "holds the character U+2028"),
        ("http://a/" + "x" * (MAX_URL_CHARACTERS - 8), "longer than 2,048 characters"),
    ],
)
def test_bad_urls(url: str, what: str) -> None:
    """What cannot be fetched, or what parsers would take apart differently, is refused with the reason."""
    fault = url_fault(url)
    assert fault is not None
    assert what in fault
    assert len(fault) < 250


AUTHORITIES = st.text(alphabet="aZ9.-_:@[]%\\/?#①ßü℀٣\u200d", max_size=20)


@settings(max_examples=250, deadline=None)
@given(
    url=st.one_of(
        st.text(max_size=60),
        st.builds("{}://{}{}".format, st.sampled_from(["http", "HTTPS", "ftp"]), AUTHORITIES, st.text(max_size=10)),
        st.builds("http://{}:{}/".format, st.sampled_from(["a", "[::1]", "é"]), st.integers(0, 99_999)),
    )
)
def test_accepted_urls_can_be_fetched(url: str) -> None:
    """No text raises, and a URL without fault has one host and one valid port to urlsplit and to the HTTP client."""
    if url_fault(url) is None:
        theirs = yarl.URL(url)
        parts = urlsplit(url)
        assert theirs.raw_host
        assert parts.hostname
        assert parts.port is None or 0 <= parts.port <= 65535
        assert theirs.port == (parts.port if parts.port is not None else {"http": 80, "https": 443}[parts.scheme])
        if parts.hostname.isascii():
            assert theirs.raw_host.lower() == parts.hostname
