"""One image from its URL: paced by host, retried while the fault may pass, within deadlines and limits."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import NamedTuple, NoReturn

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.http_exceptions import HttpProcessingError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from yarl import URL

from imagepress.addresses import AddressPolicy
from imagepress.errors import ImageError, ImageErrorCode, PermanentError, TooManyBytes
from imagepress.outbound import guarded_connector, retry_after_seconds
from services.watcher.body import read_capped
from services.watcher.budget import Holding
from services.watcher.deadline import Alarms, Deadline
from services.watcher.fetch_faults import PassingFault, translated
from services.watcher.http_connection import Answer
from services.watcher.http_get import HttpGet
from services.watcher.pacing import Pacing

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_PAUSING_STATUSES = frozenset({429, 503})  # where Retry-After speaks for the whole host
# A URL of these characters alone goes out exactly as given: signatures in queries may depend on every escape.
_AS_GIVEN = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*")


@dataclass(frozen=True)
class FetchLimits:
    """What a fetch may cost. `total_seconds` covers attempts and waits between them, not our own queues."""

    max_image_bytes: int = 32 * 1024 * 1024
    connect_seconds: float = 10.0  # for each address, TLS included
    idle_seconds: float = 20.0  # without a byte
    total_seconds: float = 120.0
    tries: int = 3
    first_delay_seconds: float = 0.5  # doubles at every try, with jitter
    longest_delay_seconds: float = 10.0
    longest_pause_seconds: float = 60.0  # cap on Retry-After
    per_host: int = 8
    at_once: int = 64
    max_redirects: int = 5
    connections: int = 256


@dataclass(frozen=True, slots=True)
class _Errand:
    """What goes with an image through all its attempts: where its bytes count, how long, in whose turn."""

    holding: Holding
    deadline: Deadline
    turn_of: str


class Fetched(NamedTuple):
    """A body, and the seconds that its hosts took for it: attempts, pauses and waits between them, not our queues."""

    data: bytes
    seconds: float


class Fetcher:
    """Downloads images. `http` must ask over guarded connections (`imagepress.outbound`)."""

    def __init__(self, http: HttpGet, pacing: Pacing, limits: FetchLimits, rng: random.Random | None = None) -> None:
        """Share `http` and `pacing` among all fetches, for the running loop; `rng` draws the jitter."""
        self._http = http
        self._pacing = pacing
        self._limits = limits
        self._alarms = Alarms()
        self._rng = rng or random.Random()  # jitter, not a secret

    async def fetch(self, url: str, holding: Holding, turn_of: str = "") -> Fetched:
        """Return the body at `url`; its bytes are counted in `holding`, which keeps them.

        `turn_of` says which batch asks: those that wait for the same host are served by turns. Raises `ImageError` with
        code `unreachable`, `timeout`, `forbidden_address`, `too_many_bytes`, `corrupt` (a broken Content-Encoding) or
        `http_` and the status.
        """
        target = _target(url)
        seconds = self._limits.total_seconds
        errand = _Errand(holding, Deadline(seconds, self._alarms), turn_of)
        try:
            try:
                data = await self._attempt(target, errand)
            except PassingFault as fault:
                data = await self._again(fault, target, errand)
        except PassingFault as fault:
            raise fault.error from fault.__cause__
        except TimeoutError:
            raise ImageError(ImageErrorCode.TIMEOUT, f"the image did not arrive within {seconds:g} seconds") from None
        return Fetched(data, seconds - errand.deadline.left)

    async def _again(self, first: PassingFault, target: URL, errand: _Errand) -> bytes:
        """Go on after the `first` attempt failed. It ran without tenacity, which costs over half of a whole request."""
        faults = [first]

        async def attempt() -> bytes:
            if faults:
                raise faults.pop()  # so that tenacity counts it, and waits first
            return await self._attempt(target, errand)

        async def sleep(seconds: float) -> None:
            async with errand.deadline:
                await asyncio.sleep(seconds)

        def is_over(state: RetryCallState) -> bool:
            return state.attempt_number >= self._limits.tries or state.upcoming_sleep >= errand.deadline.left

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(PassingFault),
            wait=self._delay,
            stop=is_over,
            sleep=sleep,
            reraise=True,
        )
        return await retrying(attempt)

    async def _attempt(self, target: URL, errand: _Errand) -> bytes:
        """Follow `target` through its redirects, each paced as a request to its own host."""
        try:
            for _ in range(self._limits.max_redirects + 1):
                outcome = await self._request(target, errand)
                if isinstance(outcome, bytes):
                    return outcome
                target = outcome
        except BaseException:
            errand.holding.give_back()
            raise
        raise ImageError("http_302", f"the URL redirects more than {self._limits.max_redirects} times")

    async def _request(self, target: URL, errand: _Errand) -> bytes | URL:
        """Return the body at `target`, or where it redirects to. Raises `TimeoutError` at the deadline."""
        host = target.host or ""
        async with self._pacing.slot(host, errand.deadline, errand.turn_of), errand.deadline:
            try:
                async with self._http.ask(target) as answer:
                    if answer.status in _REDIRECTS and (location := answer.headers.get("location")):
                        return _redirected(target, location)
                    if not 200 <= answer.status < 300:
                        self._refuse(answer, host)
                    return await self._body(answer, errand)
            except (aiohttp.ClientError, HttpProcessingError, OSError, UnicodeError) as error:
                raise translated(error, host) from error

    def _refuse(self, answer: Answer, host: str) -> NoReturn:
        """Raise what the status means for the image; let the host rest if it asks for that."""
        status = answer.status
        error = ImageError(f"http_{status}", f"{host} answered {status} {_phrase(status)}".rstrip())
        if status not in _PASSING_STATUSES:
            raise error
        seconds = retry_after_seconds(answer.headers.get("retry-after"), datetime.now(UTC))
        if status in _PAUSING_STATUSES and seconds:
            self._pacing.pause(host, seconds)
        raise PassingFault(error, host)

    async def _body(self, answer: Answer, errand: _Errand) -> bytes:
        async def admit(size: int) -> None:
            if not errand.holding.try_grow(size):
                with errand.deadline.standing_still():
                    await errand.holding.grow(size)

        try:
            return await read_capped(answer, self._limits.max_image_bytes, admit)
        except TooManyBytes as error:
            raise ImageError(ImageErrorCode.TOO_MANY_BYTES, str(error)) from error
        except PermanentError as error:
            raise ImageError(ImageErrorCode.CORRUPT, str(error)) from error

    def _delay(self, state: RetryCallState) -> float:
        """Return the seconds until the next attempt: a back-off with jitter, or the end of the host's pause."""
        fault = _fault_of(state)
        upper = min(
            self._limits.longest_delay_seconds, self._limits.first_delay_seconds * 2 ** (state.attempt_number - 1)
        )
        return max(self._rng.uniform(upper / 2, upper), self._pacing.pause_left(fault.host))


@asynccontextmanager
async def open_fetcher(
    policy: AddressPolicy, limits: FetchLimits, user_agent: str, resolver: AbstractResolver | None = None
) -> AsyncIterator[Fetcher]:
    """Open a fetcher with guarded connections of its own, closed at the end."""
    async with guarded_connector(policy, limit=limits.connections, resolver=resolver) as connector:
        http = HttpGet(
            connector,
            user_agent=user_agent,
            connect_seconds=limits.connect_seconds,
            idle_seconds=limits.idle_seconds,
        )
        yield Fetcher(http, Pacing(limits.per_host, limits.at_once, limits.longest_pause_seconds), limits)


def _target(url: str) -> URL:
    """Parse a URL of the upload; the message of an error never repeats it, as it may hold a password."""
    try:
        return _fetchable(URL(url, encoded=_AS_GIVEN.fullmatch(url) is not None))
    except ValueError:
        raise ImageError(ImageErrorCode.UNREACHABLE, "the URL is malformed") from None


def _redirected(source: URL, location: str) -> URL:
    try:
        return _fetchable(source.join(URL(location, encoded=_AS_GIVEN.fullmatch(location) is not None)))
    except ValueError:
        raise ImageError(ImageErrorCode.UNREACHABLE, f"{source.host} redirects to a malformed URL") from None


def _fetchable(target: URL) -> URL:
    """Return `target` if it is one to fetch; raise `ImageError`, or `ValueError` from yarl, which parses lazily."""
    if target.scheme not in ("http", "https"):
        raise ImageError(ImageErrorCode.FORBIDDEN_ADDRESS, "only http:// and https:// are fetched")
    if not target.host or not target.host.isprintable():
        raise ImageError(ImageErrorCode.UNREACHABLE, "the URL names no host")
    return target


def _fault_of(state: RetryCallState) -> PassingFault:
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, PassingFault):
        raise TypeError("only passing faults are retried")
    return error


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
