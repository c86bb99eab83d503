"""The connection to MongoDB: opened once a process, and checked at start-up.

The code sets its own concerns (majority writes, primary and local reads), whatever the connection string says; one
question is asked of a `durable_view`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorClientSession, AsyncIOMotorCollection
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import (
    ConfigurationError,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.monitoring import CommandListener
from pymongo.read_concern import ReadConcern

from imagepress import documents, logs
from imagepress.driver_errors import brief, is_transient, translated, translates
from imagepress.errors import (
    DatabaseUnavailable,
    ImagepressError,
    StartupError,
    TransientError,
)
from imagepress.lifecycle import Stop, Stopped
from imagepress.retry import Backoff, Trouble
from imagepress.settings import CommonSettings

log = logs.get(__name__)

Collection = AsyncIOMotorCollection[dict[str, Any]]
Session = AsyncIOMotorClientSession
WIRE_VERSION_5_0: Final = 13
_AUTHENTICATION_FAILED = frozenset({13, 18, 8000})


@dataclass(frozen=True)
class Database:
    """The collections of one imagepress installation."""

    client: AsyncIOMotorClient[dict[str, Any]]
    requests: Collection
    batches: Collection
    attempts: Collection
    idempotency: Collection


def open_client(
    settings: CommonSettings, *, timeout_seconds: float | None = None, listeners: Sequence[CommandListener] = ()
) -> AsyncIOMotorClient[dict[str, Any]]:
    """Return a client; nothing is connected yet. `timeout_seconds` bounds the search for a primary.

    Raises `StartupError` where the connection string itself is unusable.
    """
    seconds = timeout_seconds or settings.database_timeout_seconds
    try:
        return AsyncIOMotorClient(
            settings.mongo_connection_string.get_secret_value(),
            appname="imagepress",
            event_listeners=list(listeners),
            tz_aware=True,
            retryWrites=True,
            retryReads=True,
            serverSelectionTimeoutMS=int(seconds * 1000),
            connectTimeoutMS=int(seconds * 1000),
            socketTimeoutMS=int(max(30.0, seconds * 4) * 1000),
        )
    except (InvalidURI, ConfigurationError, ValueError) as error:
        raise StartupError(f"MONGO_CONNECTION_STRING is not usable: {_without_secrets(error, settings)}") from None


def _without_secrets(error: Exception, settings: CommonSettings) -> str:
    """Return the driver's message unless it could repeat credentials: then only its kind."""
    return type(error).__name__ if "@" in settings.mongo_connection_string.get_secret_value() else str(error)


@asynccontextmanager
async def connected(settings: CommonSettings, stop: Stop | None = None) -> AsyncIterator[Database]:
    """Open the database, check that it can serve imagepress, make sure of the indexes; close it at the end.

    Where MongoDB is away, it is waited for until the `stop` (then raises `Stopped`); without a `stop`, raises
    `StartupError`. That, with the remedy, also where it refuses the credentials or is a standalone server.
    """
    client = open_client(settings)
    database = _database(client, settings)
    try:
        await _until_usable(database, settings, stop)
        yield database
    finally:
        client.close()


async def _until_usable(database: Database, settings: CommonSettings, stop: Stop | None) -> None:
    backoff = Backoff(first=0.5, longest=5.0)
    trouble = Trouble(log, "the start")
    while True:
        try:
            await _check(database, settings)
            with translated():
                await _ensure_indexes(database)
                await _look_for_newer(database)
        except TransientError as error:
            if stop is None:
                raise StartupError(str(error)) from error
            trouble.note(error)
            if await stop.wait(backoff.delay()):
                raise Stopped from error
        else:
            trouble.over()
            return


def _database(client: AsyncIOMotorClient[dict[str, Any]], settings: CommonSettings) -> Database:
    concerned = client.get_database(
        settings.database_name,
        codec_options=CodecOptions(tz_aware=True),
        read_preference=ReadPreference.PRIMARY,
        # A majority that does not answer in time is trouble to be told, not a reason to wait for ever.
        write_concern=WriteConcern("majority", wtimeout=int(settings.database_timeout_seconds * 2000)),
        read_concern=ReadConcern("local"),
    )
    name = settings.collection_name
    return Database(
        client,
        requests=concerned[name],
        batches=concerned[f"{name}_batches"],
        attempts=concerned[f"{name}_attempts"],
        idempotency=concerned[f"{name}_idempotency"],
    )


async def _check(database: Database, settings: CommonSettings) -> None:
    """Raise `StartupError`, or `DatabaseUnavailable` for what may pass, each with the remedy."""
    where = redacted(settings.mongo_connection_string.get_secret_value())
    try:
        hello = await database.client.admin.command("hello")
        await database.client[settings.database_name].command("listCollections", nameOnly=True)
    except ServerSelectionTimeoutError as error:
        raise DatabaseUnavailable(
            f"no MongoDB primary answers at {where} within {settings.database_timeout_seconds:g} s ({brief(error)}).\n"
            "Is it running, is MONGO_CONNECTION_STRING right, and (Atlas) is this machine in the IP access list?"
        ) from error
    except OperationFailure as error:
        if error.code in _AUTHENTICATION_FAILED:
            raise StartupError(
                f"MongoDB at {where} refuses these credentials: {error.details and error.details.get('errmsg')}.\n"
                "Check user and password in MONGO_CONNECTION_STRING (percent-encode special characters) and the user's "
                f"readWrite role on the database {settings.database_name!r}."
            ) from error
        raise _startup_fault(error, f"MongoDB at {where} answers with an error: {brief(error)}") from error
    except PyMongoError as error:
        raise _startup_fault(error, f"MongoDB at {where} cannot be used: {brief(error)}") from error
    if problem := unfit(hello):
        raise StartupError(f"the MongoDB at {where} is {problem}")


def unfit(hello: Mapping[str, Any]) -> str | None:
    """Return why a server that says this `hello` cannot serve imagepress, with the remedy; None where it can."""
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        return (
            "a standalone server, which has no change streams.\n"
            "Start it as a replica set (mongod --replSet rs0, then rs.initiate() once in mongosh; one member is "
            "enough), use Atlas, or run `make up`, which brings a replica set of its own."
        )
    if hello["maxWireVersion"] < WIRE_VERSION_5_0:
        return "older than 5.0, and has no snapshot reads.\nUpgrade it, or use Atlas."
    return None


def _startup_fault(error: PyMongoError, message: str) -> ImagepressError:
    return DatabaseUnavailable(message) if is_transient(error) else StartupError(message)


async def _ensure_indexes(database: Database) -> None:
    """Create what is missing; safe from many processes at once, since the server serialises equal index builds."""
    await database.requests.create_indexes(documents.REQUEST_INDEXES)
    await database.batches.create_indexes(documents.BATCH_INDEXES)
    await database.attempts.create_indexes(documents.ATTEMPT_INDEXES)
    await database.idempotency.create_indexes(documents.IDEMPOTENCY_INDEXES)


@asynccontextmanager
async def durable_view(database: Database) -> AsyncIterator[Session]:
    """Yield a session whose reads all see one moment, and only what a majority has: no failover can undo it.

    A local read may see what a primary that is being deposed will lose. Most readers do not mind, for what they write
    next is guarded on the very document they read. Who concludes from one document to another one needs this.
    https://www.mongodb.com/docs/manual/reference/read-concern-snapshot/
    """
    async with await database.client.start_session(snapshot=True) as session:
        yield session


async def _look_for_newer(database: Database) -> None:
    """Say loudly where a newer release has written: its documents are left alone (`documents.KNOWN`)."""
    newest = await database.requests.find_one({}, {"schema": 1}, sort=[("created_at", -1), ("_id", -1)])
    if newest and newest.get("schema", 1) > documents.SCHEMA:
        log.error(
            "a newer release of imagepress has written to this database; what it wrote is left alone until that "
            "release is back",
            schema=newest["schema"],
            known=documents.SCHEMA,
        )


@translates
async def server_time(database: Database) -> datetime:
    """Return the database's clock, the only one that two processes may compare by."""
    hello: dict[str, Any] = await database.client.admin.command("hello", codec_options=CodecOptions(tz_aware=True))
    time: datetime = hello["localTime"]
    return time


def redacted(connection_string: str) -> str:
    """Return the connection string's scheme and hosts only: no credentials, no options."""
    scheme, _, rest = connection_string.partition("://")
    hosts = rest.partition("/")[0].partition("?")[0].rpartition("@")[2]
    return f"{scheme}://{hosts}"
