"""Reports unexpected errors to Sentry, without secrets, if a DSN is set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from common.observability.redaction import Redactor


def report_errors(dsn: str, *, service: str, secrets: Iterable[str] = ()) -> None:
    """Start reporting errors; does nothing without a DSN. ``service`` is ``api`` or ``worker``."""
    if not dsn:
        return
    import sentry_sdk  # An optional dependency.

    redactor = Redactor(secrets)

    def scrub(event: Any, _hint: Any) -> Any:
        return redactor.clean(event)

    sentry_sdk.init(
        dsn=dsn,
        server_name=service,
        before_send=cast("Any", scrub),
        # Local variables and request bodies contain user data and credentials.
        include_local_variables=False,
        send_default_pii=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        traces_sample_rate=0.0,
    )
