"""The API conforms to its OpenAPI document for every generated request."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import jwt
import pytest

from api.auth.jwt_tokens import ADMIN_SCOPE
from common.bootstrap import connect
from common.settings import Settings
from stack.process import Process, accepts_connections, free_port, wait_until
from stack.services import S3, Valkey
from tests.support.recorder import recording
from worker.maintenance.history_recorder import history_recorder_for

ROOT = Path(__file__).parents[2]
JWT_SECRET = "0123456789abcdef0123456789abcdef"
#: Generated cases per operation; CONFORMANCE_CASES=1000 makes more than 10,000 requests in all.
CASES = int(os.environ.get("CONFORMANCE_CASES", "3"))
PHASES = "examples,coverage,fuzzing" + (",stateful" if CASES > 3 else "")
#: A valid request may be rejected for reasons that no schema expresses (size of metadata, a private
#: callback URL), and a job that DELETE cancelled can still be read. A header from the command line
#: is sent also where its absence is tested.
EXCLUDED_CHECKS = "positive_data_acceptance,use_after_free,missing_required_header"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A running API, and how to call it."""

    url: str
    environment: dict[str, str]
    #: Of an operator.
    token: str


@pytest.fixture(scope="module", params=["none", "jwt", "history"])
def environment(request: pytest.FixtureRequest, valkey: Valkey, s3: S3) -> Iterator[dict[str, str]]:
    """Settings without effective limits, and with short waits."""
    env = {
        "REDIS_URL": valkey.url,
        "S3_ENDPOINT_URL": s3.endpoint,
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        "CREATE_PER_MINUTE_USER": "1000000",
        "CREATE_PER_MINUTE_IP": "1000000",
        "REQUESTS_PER_MINUTE_IP": "1000000",
        "MAX_ACTIVE_JOBS": "1000000",
        "QUEUE_MAX": "1000000",
        "REQUEST_TIMEOUT": "1",
        "ADMIN_TOKEN": "the token of the operators",
        "CONFORMANCE_USER": "anonymous",
    }
    if request.param == "jwt":
        env |= {"AUTH_MODE": "jwt", "JWT_SECRET": JWT_SECRET, "CONFORMANCE_USER": "alice"}
    if request.param == "history":
        env |= {"DATABASE_URL": request.getfixturevalue("postgres").url}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        with ExitStack() as running:
            _prepare(Settings.from_env(), running)
            yield env


def _prepare(settings: Settings, running: ExitStack) -> None:
    services = connect(settings, timeout=5)
    services.redis.flushall()
    services.storage.ensure_bucket(settings.archive_bucket)
    if services.database is not None:
        recorder = history_recorder_for(services, services.database, "test", lambda: None)
        running.callback(services.database.dispose)
        running.enter_context(recording(recorder))


@pytest.fixture(scope="module")
def api(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    port = free_port()
    log = tmp_path_factory.mktemp("api") / "log"
    process = Process(
        "api",
        [sys.executable, "-m", "gunicorn", "-c", "api/gunicorn_conf.py", "api.wsgi:app"],
        env={**environment, "PORT": str(port)},
        cwd=ROOT,
        output=log,
    )
    wait_until(lambda: accepts_connections(port), "the API")
    claims = {"sub": "alice", "exp": time.time() + 86_400, "scope": ADMIN_SCOPE}
    token = environment["ADMIN_TOKEN"]
    if "JWT_SECRET" in environment:
        token = jwt.encode(claims, JWT_SECRET, "HS256")
    yield Target(url=f"http://127.0.0.1:{port}", environment=environment, token=token)
    process.stop(10)
    assert "Traceback" not in log.read_text()


@pytest.mark.timeout(240 if CASES <= 3 else 5400)
def test_every_response_conforms_to_the_openapi_document(api: Target, tmp_path: Path) -> None:
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json"),
            *("--header", f"Authorization: Bearer {api.token}"),
            # This stream never ends.
            *("--exclude-path", "/v1/admin/stream"),
            *("--phases", PHASES, "--max-examples", str(CASES), "--max-redirects", "0"),
            *("--workers", "1", "--request-timeout", "20", "--continue-on-failure"),
            *("--exclude-checks", EXCLUDED_CHECKS),
            *("--suppress-health-check", "all", "--warnings", "off", "--no-color"),
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            **api.environment,
            "SCHEMATHESIS_HOOKS": "tests.e2e.conformance_hooks",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    print(run.stdout[run.stdout.find("= SUMMARY") :])
    assert run.returncode == 0, run.stdout + run.stderr[-2000:]
    assert re.search(r"[1-9]\d* generated", run.stdout), run.stdout[-2000:]
