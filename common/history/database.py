"""Connections to PostgreSQL, and the migration of its tables."""

from __future__ import annotations

from typing import Final

import structlog
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, make_url, text
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

log = structlog.get_logger(__name__)


def open_engine(url: str, *, timeout: float, size: int) -> Engine:
    """Return an engine with at most ``size`` connections, which are opened on first use.

    ``timeout``: seconds that connecting, and separately one statement, may take. Raises
    ``sqlalchemy.exc.ArgumentError`` for an invalid ``url``, without showing it.
    """
    parsed = make_url(url)
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    milliseconds = round(timeout * 1000)
    return create_engine(
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
            # By default TCP takes a quarter of an hour to detect a dead peer.
            "tcp_user_timeout": milliseconds,
        },
    )


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
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        unknown = _unknown_revision(config, connection)
        if unknown is not None:
            log.warning("history has tables of a newer release", revision=unknown)
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _unknown_revision(config: Config, connection: Connection) -> str | None:
    """Return the revision of the tables if this release does not have it."""
    revision = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    return revision if revision not in known else None
