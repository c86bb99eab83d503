"""What the command decides and prints, without a service."""

from __future__ import annotations

import pytest

from imagepress_client import cli_show
from imagepress_client.cli_commands import UnsafeName, file_name
from imagepress_client.events import Decoder, Event


@pytest.mark.parametrize("link", ["http://h/", "http://h/a/..", "http://h/.hidden", "http://h/a%2Fb", "http://h/a\\b"])
def test_no_name_leads_out_of_the_folder(link: str) -> None:
    """A service cannot make the command write elsewhere, or a hidden file."""
    with pytest.raises(UnsafeName):
        file_name(link)


def test_an_image_is_named_as_the_service_names_it() -> None:
    """The name is the last part of the path; a signature behind it does not count."""
    assert file_name("http://h/compressed_images/id/000001-00-9f86d081.jpg?signature=x") == "000001-00-9f86d081.jpg"


def test_strangers_text_does_not_steer_the_terminal() -> None:
    """Escape sequences and line breaks lose their effect; letters of all languages stay."""
    assert cli_show.printable("Café \x1b[2J\n\u202e日本") == "Café �[2J��日本"


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999_400, "999 kB"),
        (999_500, "1.0 MB"),
        (2_340_000, "2.3 MB"),
        (5 * 10**9, "5.00 GB"),
    ],
)
def test_sizes_are_readable(count: int, expected: str) -> None:
    """Bytes are told in powers of a thousand."""
    assert cli_show.size(count) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["event: progress", "data: {", "data: }", ""], [Event("progress", "{\n}")]),
        (["data:x", "", ": beat", "", "event: end", ""], [Event("message", "x"), Event("end", "")]),
        (["id: 3", "retry: 100", "event: progress", "", "data", ""], [Event("message", "")]),
        (["event: progress", "data: cut off"], []),
    ],
)
def test_events_are_put_together_from_lines(lines: list[str], expected: list[Event]) -> None:
    """Several data lines are one text, comments and other fields are passed over, what is cut off is no event."""
    decoder = Decoder()
    assert [event for line in lines if (event := decoder.feed(line))] == expected
