"""The API warns at start if anyone on the network can use it."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from api.app import warn_about_open_access
from common.settings import Settings


@pytest.mark.parametrize(
    ("host", "auth_mode", "warns"),
    [
        ("0.0.0.0", "none", True),  # noqa: S104
        ("::", "none", True),
        ("192.168.1.5", "none", True),
        ("api.internal", "none", True),
        ("0.0.0.0", "jwt", False),  # noqa: S104
        ("127.0.0.1", "none", False),
        ("127.0.0.53", "none", False),
        ("::1", "none", False),
        ("localhost", "none", False),
    ],
)
def test_a_server_without_authentication_warns_unless_it_is_local(
    host: str, auth_mode: str, warns: bool
) -> None:
    with capture_logs() as logs:
        warn_about_open_access(Settings(host=host, auth_mode=auth_mode))
    assert ["AUTH_MODE is none" in entry["event"] for entry in logs] == [True] * warns
