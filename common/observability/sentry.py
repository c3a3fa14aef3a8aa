"""Reports unexpected errors to Sentry, without secrets, if a DSN is set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

import structlog

from common.observability.redaction import Redactor
from common.version import VERSION

#: What the logs bind to the current work, and a report should be found by.
_IDS: Final = ("job_id", "request_id", "trace_id")


def report_errors(dsn: str, *, service: str, environment: str, secrets: Iterable[str] = ()) -> None:
    """Start reporting errors; does nothing without a DSN. ``service`` is ``api`` or ``worker``."""
    if not dsn:
        return
    import sentry_sdk  # An optional dependency.

    redactor = Redactor(secrets)

    def scrub(event: Any, _hint: Any) -> Any:
        return redactor.clean({**event, "tags": {**event.get("tags", {}), **_ids()}})

    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        release=f"longhaul@{VERSION}",
        before_send=cast("Any", scrub),
        # Local variables and request bodies contain user data and credentials.
        include_local_variables=False,
        send_default_pii=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        traces_sample_rate=0.0,
    )
    sentry_sdk.set_tag("service", service)


def _ids() -> dict[str, str]:
    bound = structlog.contextvars.get_contextvars()
    return {name: str(bound[name]) for name in _IDS if name in bound}
