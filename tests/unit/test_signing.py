"""Signatures: the specification's own vector, rotation, secrets of single clients, and secrets that stay secret."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from standardwebhooks import webhooks as standardwebhooks
from svix import webhooks as svix

from imagepress.documents import webhook_id
from imagepress.signing import SigningSecrets, headers, parse_secrets

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"test": 2432232314}'
MOMENT = datetime.fromtimestamp(1614265330, UTC)
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_id_names_request_and_run() -> None:
    """The same run has the same id for ever; a retry of the request is a run of its own; no dot ever stands in it."""
    assert webhook_id("6f1c1f0a-6f3e-4e0e-9a59-0d8f7f0f4b57", 1) == "msg_6f1c1f0a6f3e4e0e9a590d8f7f0f4b57_1"
    assert webhook_id("6f1c", 2) != webhook_id("6f1c", 1)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", webhook_id("a.b:c/ü", 1))


def _signed(text: str, *, client: str | None = None, now: datetime = MOMENT, body: bytes = BODY) -> dict[str, str]:
    return headers(ID, body, secrets=parse_secrets(text).of(client), now=now)


def test_the_vector_of_the_specification() -> None:
    """Secret, id, time and body of the specification's example give its signature."""
    assert _signed(SECRET) == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }


def test_the_zone_of_the_clock_does_not_matter() -> None:
    """The same moment, told in another time zone or within its second, is signed alike."""
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=9))) + timedelta(milliseconds=900)
    assert _signed(SECRET, now=elsewhere) == _signed(SECRET)


@pytest.mark.parametrize("library", [standardwebhooks, svix], ids=lambda library: library.__name__)
def test_all_secrets_sign_while_one_is_replaced(library: Any) -> None:
    """Two secrets make two signatures, the new one first; a receiver that knows either takes the webhook for genuine,
    by the judgement of either reference library, and one that knows neither does not."""
    now = datetime.now(UTC)
    body = json.dumps({"name": "müßig"}, ensure_ascii=False).encode()
    made = _signed(f"{OTHER}, {SECRET}", now=now, body=body)
    first, second = made["webhook-signature"].split(" ")
    assert first == _signed(OTHER, now=now, body=body)["webhook-signature"]
    assert second == _signed(SECRET, now=now, body=body)["webhook-signature"]
    for secret in (OTHER, SECRET):
        library.Webhook(secret).verify(body, made)
    for secret, received in ((OTHER, body + b" "), (_of_size(24), body)):
        with pytest.raises(library.WebhookVerificationError):
            library.Webhook(secret).verify(received, made)


def test_without_a_secret_the_id_and_the_time_remain() -> None:
    """An unsigned webhook still carries what receivers need to recognise a repetition."""
    assert _signed("").keys() == {"webhook-id", "webhook-timestamp"}


def test_a_client_with_secrets_of_its_own_is_signed_for_with_those_alone() -> None:
    """Nobody else's secret signs that client's webhooks; the others, and webhooks without a client, share the rest."""
    text = f"shop={OTHER},{SECRET}"
    assert _signed(text, client="shop") == _signed(OTHER)
    assert _signed(text, client="another") == _signed(text) == _signed(SECRET)


def test_padding_may_be_left_out() -> None:
    """A secret without the equals signs at its end is the same secret."""
    assert parse_secrets(OTHER.rstrip("=")) == parse_secrets(OTHER)


def _of_size(size: int) -> str:
    return "whsec_" + base64.b64encode(b"k" * size).decode()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hunter2", "secret 1 does not start with whsec_"),
        ("shop=hunter2", "secret 1 does not start with whsec_"),
        (f"={SECRET}", "secret 1 names no client"),
        ("whsec_hunter2!hunter2!hunter2!hunter2!", "secret 1 is not base64"),
        ("whsec_hünter2", "secret 1 is not base64"),
        ("whsec_", "secret 1 has 0 bytes"),
        (_of_size(23), "secret 1 has 23 bytes, and must have 24 to 64"),
        (_of_size(65), "secret 1 has 65 bytes"),
        (f"{SECRET},hunter2,shop={_of_size(8)}", "secret 2 does not start .*; secret 3 has 8 bytes"),
    ],
)
def test_unusable_secrets_are_told_all_at_once_and_never_repeated(text: str, problem: str) -> None:
    """Each problem is told by the secret's place in the list; no part of a secret is."""
    with pytest.raises(ValueError, match=problem) as caught:
        parse_secrets(text)
    assert "hunter2" not in str(caught.value)
    assert "hünter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("size", [24, 64])
def test_sizes_at_both_ends_are_accepted(size: int) -> None:
    """The specification allows 24 to 64 bytes."""
    assert parse_secrets(_of_size(size)).shared == (b"k" * size,)


def test_secrets_do_not_show() -> None:
    """The text of the object shows no key, neither as bytes nor as base64."""
    secrets = parse_secrets(f"{_of_size(24)},shop={_of_size(32)}")
    assert repr(secrets) == str(secrets) == "SigningSecrets()"
    assert parse_secrets(" , ") == SigningSecrets()
