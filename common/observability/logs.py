"""Structured logs: one JSON object per line, with the ids that are bound to the current work."""

from __future__ import annotations

import contextlib
import logging
import logging.config
import sys
from collections.abc import Iterable
from typing import TextIO

import structlog
from structlog.typing import Processor

from common.observability.redaction import Redactor


class _Stderr(logging.StreamHandler[TextIO]):
    """Reports write errors without the record. The standard handler would print it with secrets."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        kind = sys.exc_info()[0]
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"a log record of {record.name} was not written: {kind}\n")


def configure_logging(level: str, secrets: Iterable[str] = ()) -> None:
    """Send structlog's and the standard library's records to stderr as JSON lines.

    ``secrets``: values that are removed from every line.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared[:-1],
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": shared,
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            Redactor(secrets),
            structlog.processors.JSONRenderer(),
        ],
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": formatter},
            "handlers": {"stderr": {"()": _Stderr, "formatter": "json"}},
            "root": {"handlers": ["stderr"], "level": level},
            # Celery logs each message; the worker logs each attempt.
            "loggers": {
                "celery.worker.strategy": {"level": "WARNING"},
                "celery.app.trace": {"level": "WARNING"},
            },
        }
    )
