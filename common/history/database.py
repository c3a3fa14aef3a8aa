"""The connection to PostgreSQL, and its tables brought up to date."""

from __future__ import annotations

from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, make_url, text

#: Any number, as long as nobody else in the database locks by it.
_MIGRATION_LOCK: Final = 0x10C6_8A01


def open_engine(url: str, *, timeout: float, size: int) -> Engine:
    """An engine of at most ``size`` connections; none is opened before it is used.

    ``timeout``: seconds that connecting, and separately one statement, may take. Raises
    ``sqlalchemy.exc.ArgumentError`` when ``url`` is none; its message does not show the URL.
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
        # The values of a failing statement are users' data: none of a log's business.
        hide_parameters=True,
        connect_args={
            "connect_timeout": max(1, round(timeout)),
            "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}",
            # Dead peers are noticed though TCP would wait for a quarter of an hour.
            "tcp_user_timeout": milliseconds,
        },
    )


def migrate(engine: Engine) -> None:
    """Bring the tables up to date; any number of processes may call this at once.

    Raises ``sqlalchemy.exc.SQLAlchemyError`` when the database is away.
    """
    config = Config()
    config.set_main_option("script_location", "common.history:migrations")
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
