"""A worker whose user may not run the commands that it needs says so and exits."""

from __future__ import annotations

import os
import subprocess
import sys

from redis import Redis

from common.job_store.client import open_client
from common.job_store.permissions import missing_permissions
from stack.process import free_port
from stack.services import Valkey


def test_a_worker_names_the_commands_that_its_user_may_not_run(valkey: Valkey) -> None:
    with Redis.from_url(valkey.url) as admin:
        for name, rule in (("restricted", "-@dangerous"), ("complete", "+client|list +info")):
            admin.execute_command(
                "ACL", "SETUSER", name, "on", ">secret", "~*", "&*", "+@all", "-@dangerous",
                *rule.split(),
            )  # fmt: skip
    urls = [
        valkey.url.replace("redis://", f"redis://{user}:secret@")
        for user in ("restricted", "complete")
    ]
    found = [missing_permissions(open_client(url, timeout=5)) for url in urls]
    assert found == [["client|list", "info"], []]
    worker = subprocess.run(
        [sys.executable, "-m", "worker"],
        env={**os.environ, "REDIS_URL": urls[0], "METRICS_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert worker.returncode == 1
    assert "ACL SETUSER: +client|list +info" in worker.stderr


def test_an_unavailable_job_store_is_not_a_missing_permission() -> None:
    client = open_client(f"redis://127.0.0.1:{free_port()}/0", timeout=1)
    assert missing_permissions(client) == []
