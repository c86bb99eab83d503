"""Keys, cookies, links and rates: pure pieces of who may come in, with a clock of the test's own."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from imagepress.keys import Keys, parse_keys
from imagepress.links import Links
from services.ingest.rate import BURST_SECONDS, MOST_CALLERS, Rate, of_address
from services.ingest.sessions import Sessions

SHOP, PRESS = "shops-key-0123456789", "press-key-0123456789"
KEYS = f"shop:{SHOP}, press:{PRESS},shop:shops-next-key-0123456789"


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_key_tells_its_client() -> None:
    """Each key of a client is known, also while one is being replaced by another; nothing else is."""
    keys = parse_keys(KEYS)
    assert {key: _client(keys, key) for key in (SHOP, PRESS, "shops-next-key-0123456789", "", SHOP[:-1])} == {
        SHOP: "shop",
        PRESS: "press",
        "shops-next-key-0123456789": "shop",
        "": None,
        SHOP[:-1]: None,
    }
    assert not parse_keys("  ,")


def test_whose_key_can_be_guessed_is_known() -> None:
    """A key of less than 16 characters works, and its client is named for the log at the start; the key is not."""
    keys = parse_keys(f"shop:{SHOP},press:short")
    assert keys.find("short")
    assert keys.weak == ("press",)
    assert "short" not in repr(keys)


def _client(keys: Keys, key: str) -> str | None:
    found = keys.find(key)
    return found[0] if found else None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (SHOP, "key 1 must be client:key"),
        (f"a b:{SHOP}", "key 1 must begin with client:"),
        ("shop:with a space in the middle", "key 1 must have 1 to 512"),
        (f"shop:{SHOP},press:{SHOP}", "key 2 is another client's, too"),
    ],
)
def test_keys_that_cannot_be_used_are_refused_without_being_shown(text: str, told: str) -> None:
    """What is wrong is told by the key's place in the list."""
    with pytest.raises(ValueError, match=told) as caught:
        parse_keys(text)
    assert SHOP not in str(caught.value)


def test_keys_never_show() -> None:
    """Neither keys nor their digests stand in the text of what holds them."""
    keys = parse_keys(KEYS)
    for holder in (keys, Links("http://ip", keys.link_secret()), Sessions(keys, 60)):
        assert not any(part in repr(holder) for part in (SHOP, keys.digests[0][1].hex(), repr(keys.digests[0][1])))


def test_a_cookie_ends_with_its_time_and_with_its_key() -> None:
    """A cookie is good until it expires, for as long as the key is there that it was made with."""
    clock = Clock()
    sessions = Sessions(parse_keys(KEYS), 60, clock)
    cookie = sessions.opened(SHOP)
    assert cookie is not None
    assert sessions.client_of(cookie) == "shop"
    assert Sessions(parse_keys(f"press:{PRESS},shop:shops-next-key-0123456789"), 60, clock).client_of(cookie) is None
    clock.now += 60
    assert sessions.client_of(cookie) is None
    assert sessions.opened("nobodys-key-0123456789") is None


@pytest.mark.parametrize(
    "cookie", ["", "~", "shop~~", "shop~x~y", "shop~9999999999~", "shop~9999999999~é", "\udcff~1~2"]
)
def test_nonsense_is_no_cookie(cookie: str) -> None:
    """Whatever a browser sends, it is nobody."""
    assert Sessions(parse_keys(KEYS), 60).client_of(cookie) is None


def _signed(url: str) -> tuple[str, str, str]:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    return parts.path, query["expires"][0], query["signature"][0]


def test_a_link_is_the_same_for_a_while_and_good_for_longer() -> None:
    """Within an hour the same link is made, good for at least `seconds`, and at most an hour more."""
    clock = Clock()
    links = Links("http://ip", b"secret", seconds=600, clock=clock)
    first = links.image("r/1.jpg")
    assert first.startswith("http://ip/compressed_images/r/1.jpg?expires=")
    left = links.seconds_left(*_signed(first))
    assert left is not None
    assert 600 <= left <= 600 + 3600
    clock.now += left - 600
    assert links.image("r/1.jpg") == first
    clock.now += 1
    assert links.image("r/1.jpg") != first
    clock.now += 600
    assert links.seconds_left(*_signed(first)) == -1


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_link_with_another_path_expiry_or_signature_is_not_ours(part: int) -> None:
    """Each part of a link is covered by its signature."""
    links = Links("http://ip", b"secret")
    parts = list(_signed(links.result_csv("r")))
    assert links.seconds_left(*parts)
    parts[part] = parts[part][:-1] + ("0" if parts[part][-1] != "0" else "1")
    assert links.seconds_left(*parts) is None


def test_without_a_secret_links_are_plain_and_none_is_verified() -> None:
    """An open service makes links without a signature, and takes no signature for one of its own."""
    links = Links("http://ip")
    assert links.images_zip("r") == "http://ip/api/requests/r/images.zip"
    assert links.seconds_left("/x", "9999999999", "") is None
    path, expires, signature = _signed(Links("http://ip", b"\0").result_csv("r"))
    assert links.seconds_left(path, expires, signature) is None


def test_a_caller_may_come_steadily_or_at_once_but_not_both() -> None:
    """A burst of a minute's calls is accepted, the next call when one is due; another caller does not notice."""
    clock = Clock()
    rate = Rate(60, clock)
    assert [rate.seconds_to_wait("a") for _ in range(60)] == [0.0] * 60
    assert rate.seconds_to_wait("a") == pytest.approx(1.0)
    assert rate.seconds_to_wait("b") == 0.0
    clock.now += 1
    assert rate.seconds_to_wait("a") == 0.0
    assert rate.seconds_to_wait("a") > 0


@pytest.mark.parametrize(("per_minute", "accepted"), [(0, 1000), (0.5, 1), (1, 1), (600, 600)])
def test_a_rate_allows_what_it_says(per_minute: float, accepted: int) -> None:
    """0 allows any number at once, less than one a minute still allows one."""
    rate = Rate(per_minute, Clock())
    assert sum(not rate.seconds_to_wait("a") for _ in range(1000)) == accepted


def test_callers_that_have_been_quiet_are_forgotten() -> None:
    """However many addresses call, the memory for them is bounded by those of the last minute."""
    clock = Clock()
    rate = Rate(60, clock)
    for number in range(MOST_CALLERS):
        rate.seconds_to_wait(str(number))
    clock.now += BURST_SECONDS
    rate.seconds_to_wait("new")
    assert len(vars(rate)["_full_at"]) == 1


@pytest.mark.parametrize(
    ("address", "caller"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_an_ipv6_caller_is_its_network(address: str, caller: str) -> None:
    """All addresses of one IPv6 network are the same caller."""
    assert of_address(address) == caller


def test_settings_read_keys() -> None:
    """API_KEYS is read from text, and a mistake in it stops the start without showing a key."""
    from imagepress.errors import SettingsError
    from imagepress.settings import load
    from services.ingest.settings import IngestSettings

    good: dict[str, Any] = {"mongo_connection_string": "mongodb://h/", "database_name": "d", "collection_name": "c"}
    settings = load(IngestSettings, _env_file=None, **good, api_keys=KEYS)
    assert _client(settings.api_keys, PRESS) == "press"
    assert PRESS not in repr(settings)
    with pytest.raises(SettingsError, match="API_KEYS: key 1") as caught:
        load(IngestSettings, _env_file=None, **good, api_keys=f"a b:{SHOP}")
    assert SHOP not in str(caught.value)
