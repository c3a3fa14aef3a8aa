"""Reports unexpected errors to Sentry, where a DSN is set; secrets are taken out before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from common.observability.redaction import Redactor


def report_errors(dsn: str, *, service: str, secrets: Iterable[str] = ()) -> None:
    """Start reporting; does nothing without a DSN. ``service`` names the kind of process."""
    if not dsn:
        return
    import sentry_sdk  # An extra.

    redactor = Redactor(secrets)

    def scrub(event: Any, _hint: Any) -> Any:
        return redactor.clean(event)

    sentry_sdk.init(
        dsn=dsn,
        server_name=service,
        before_send=cast("Any", scrub),
        # Local variables and bodies hold what users sent, and credentials.
        include_local_variables=False,
        send_default_pii=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        traces_sample_rate=0.0,
    )
