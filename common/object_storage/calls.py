"""What the groups of calls share."""

from __future__ import annotations

from collections.abc import Mapping

from common.object_storage.transport import Transport

#: Seconds a write, a server-side copy or a completion may take without a sign of life.
LONG_CALL = 120.0


class Calls:
    """Calls to one endpoint."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def close(self) -> None:
        """Close the connections that wait for the next call."""
        self._transport.close()


def metadata_headers(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """User metadata as headers."""
    return {f"x-amz-meta-{name}": value for name, value in (metadata or {}).items()}
