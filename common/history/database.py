"""Connections to PostgreSQL, and the migration of its tables."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import psycopg
import structlog
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
    TimeoutError,
)

#: Any number that no other application uses for an advisory lock in the same database.
_MIGRATION_LOCK: Final = 0x10C6_8A01
#: SQLSTATEs of an unknown table and an unknown column: the tables have not been migrated yet.
_NOT_MIGRATED: Final = ("42P01", "42703")

#: Seconds after which a statement is given up that the server should have ended already.
_RESPONSE_MARGIN: Final = 0.25

T = TypeVar("T")

log = structlog.get_logger(__name__)


class _TimedConnection(psycopg.Connection[Any]):
    """A connection that does not wait for a server that has stopped responding.

    The server's own timeouts do not work then, nor if PgBouncer holds a statement back while it has
    no server.
    """

    #: Seconds that a response may take; None: forever.
    max_wait: float | None = None

    def wait(
        self, gen: Generator[Any, Any, T], interval: float = 0.1, timeout: float | None = None
    ) -> T:
        """Raise ``psycopg.OperationalError`` and close the connection if there is no response."""
        try:
            return super().wait(gen, interval, self.max_wait if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:
            # A late response would be taken for that of the next statement.
            self.pgconn.finish()
            raise psycopg.OperationalError("The database did not respond in time") from None


def open_engine(url: str, *, timeout: float, size: int) -> Engine:
    """Return an engine with at most ``size`` connections, which are opened on first use.

    ``timeout``: seconds that connecting, and separately one statement, may take. Raises
    ``sqlalchemy.exc.ArgumentError`` for an invalid ``url``, without showing it.
    """
    parsed = make_url(url)
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    milliseconds = round(timeout * 1000)
    engine = create_engine(
        parsed,
        pool_size=size,
        max_overflow=0,
        pool_timeout=timeout,
        pool_pre_ping=True,
        # The parameters of a failing statement are users' data and must not be logged.
        hide_parameters=True,
        connect_args={
            "connect_timeout": max(1, round(timeout)),
            "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}",
            # PgBouncer may run the next transaction on a server's connection without them.
            "prepare_threshold": None,
            # By default TCP takes a quarter of an hour to detect a dead peer.
            "tcp_user_timeout": milliseconds,
        },
    )

    @event.listens_for(engine, "do_connect")
    def connect(_: Any, __: Any, arguments: Any, options: Any) -> _TimedConnection:
        connection = _TimedConnection.connect(*arguments, **options)
        connection.max_wait = timeout + _RESPONSE_MARGIN
        return connection

    return engine


def is_outage(error: SQLAlchemyError) -> bool:
    """Return whether the database is unavailable; otherwise the statement or its data is wrong."""
    if isinstance(error, OperationalError | InterfaceError | TimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or getattr(error.orig, "sqlstate", "") in _NOT_MIGRATED


def migrate(engine: Engine) -> None:
    """Migrate the tables to the newest version. Safe to call in many processes at the same time.

    Tables of a newer release are left as they are: after a roll-back, this release writes to them.
    Migrations only add what older releases can do without.

    Raises ``sqlalchemy.exc.SQLAlchemyError`` when the database is unavailable.
    """
    config = Config()
    config.set_main_option("script_location", "common.history:migrations")
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection, _without_timeouts(connection):
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        unknown = _unknown_revision(config, connection)
        if unknown is not None:
            log.warning("history has tables of a newer release", revision=unknown)
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def _without_timeouts(connection: Connection) -> Iterator[None]:
    """Let the statements of a transaction take as long as they need."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL lock_timeout = 0"))
    driver: Any = connection.connection.driver_connection
    max_wait, driver.max_wait = driver.max_wait, None
    try:
        yield
    finally:
        driver.max_wait = max_wait


def _unknown_revision(config: Config, connection: Connection) -> str | None:
    """Return the revision of the tables if this release does not have it."""
    revision = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    return revision if revision not in known else None
