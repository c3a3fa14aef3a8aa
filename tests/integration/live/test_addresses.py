"""The addresses that the API listens on, and the addresses of its clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.services import Valkey
from tests.support.live_api import Api, running


@pytest.mark.parametrize("host", ["::", "::1"])
def test_api_listens_on_an_ipv6_address(valkey: Valkey, tmp_path: Path, host: str) -> None:
    api = Api(valkey.url, tmp_path / "log", HOST=host, REQUESTS_PER_MINUTE_IP=1_000)
    api.host = "::1"
    with running(api):
        first = int(api.get("/v1/download/jobs")[1]["RateLimit-Remaining"])
        assert int(api.get("/v1/download/jobs")[1]["RateLimit-Remaining"]) < first
        if host == "::":
            # Counted as 127.0.0.1, and not together with ::ffff:0:0/64, all of IPv4.
            api.host = "127.0.0.1"
            assert int(api.get("/v1/download/jobs")[1]["RateLimit-Remaining"]) == 999
