"""The API conforms to its OpenAPI document for every generated request."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.bootstrap import connect
from common.settings import Settings
from stack.process import Process, accepts_connections, free_port, wait_until
from stack.services import S3, Valkey

ROOT = Path(__file__).parents[2]
#: Generated cases per operation; CONFORMANCE_CASES=1000 makes more than 10,000 requests in all.
CASES = int(os.environ.get("CONFORMANCE_CASES", "3"))
PHASES = "examples,coverage,fuzzing" + (",stateful" if CASES > 3 else "")
#: A valid request may be rejected for reasons that no schema expresses (size of metadata, a private
#: callback URL), and a job that DELETE cancelled can still be read.
EXCLUDED_CHECKS = "positive_data_acceptance,use_after_free"


@pytest.fixture(scope="module")
def environment(valkey: Valkey, s3: S3) -> dict[str, str]:
    """Settings without effective limits, and with short waits."""
    return {
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
    }


@pytest.fixture(scope="module")
def api(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        settings = Settings.from_env()
        connect(settings, timeout=5).storage.ensure_bucket(settings.archive_bucket)
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
    yield f"http://127.0.0.1:{port}"
    process.stop(10)
    assert "Traceback" not in log.read_text()


@pytest.mark.timeout(240 if CASES <= 3 else 5400)
def test_every_response_conforms_to_the_openapi_document(
    api: str, environment: dict[str, str], tmp_path: Path
) -> None:
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{api}/openapi.json"),
            *("--phases", PHASES, "--max-examples", str(CASES), "--max-redirects", "0"),
            *("--workers", "1", "--request-timeout", "20", "--continue-on-failure"),
            *("--exclude-checks", EXCLUDED_CHECKS),
            *("--suppress-health-check", "all", "--warnings", "off", "--no-color"),
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            **environment,
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
