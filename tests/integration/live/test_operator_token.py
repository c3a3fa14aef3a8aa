"""A server without ADMIN_TOKEN prints a link with a token that all of its processes accept."""

from __future__ import annotations

import re
from pathlib import Path

from stack.services import Valkey
from tests.support.live_api import Api, running

OVERVIEW = "/v1/admin/overview"


def test_generated_token_is_printed_once_and_accepted_by_every_process(
    valkey: Valkey, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with running(Api(valkey.url, log, ADMIN_TOKEN="", WEB_CONCURRENCY=2)) as api:
        (token,) = re.findall(rf"http://localhost:{api.port}/operator#token=(\S+)", log.read_text())
        headers = {"Authorization": f"Bearer {token}"}
        # A new connection for each request, so that both processes get some.
        assert {api.get(OVERVIEW, headers)[0] for _ in range(10)} == {200}
        assert {api.get(OVERVIEW)[0] for _ in range(10)} == {403}
        assert api.get(f"{OVERVIEW}?token={token}")[0] == 403
    assert log.read_text().count(token) == 1


def test_configured_token_is_not_printed(valkey: Valkey, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(Api(valkey.url, log, ADMIN_TOKEN="secret of the operators")) as api:
        headers = {"Authorization": "Bearer secret of the operators"}
        assert api.get(OVERVIEW, headers)[0] == 200
    assert "secret of the operators" not in log.read_text()


def test_no_token_is_generated_for_users_of_json_web_tokens(valkey: Valkey, tmp_path: Path) -> None:
    log = tmp_path / "log"
    env = {"AUTH_MODE": "jwt", "JWT_SECRET": "0123456789abcdef0123456789abcdef"}
    with running(Api(valkey.url, log, ADMIN_TOKEN="", **env)) as api:
        assert api.get(OVERVIEW)[0] == 401
    assert "#token=" not in log.read_text()
