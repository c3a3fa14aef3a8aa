"""The API keeps to its own OpenAPI document, whatever it is sent."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.bootstrap import connect
from common.jobs.model import Artifact, Failure, JobSpec, Progress
from common.settings import Settings
from common.store.jobs import JobStore
from stack.process import Process, accepts_connections, free_port, wait_until
from stack.services import S3, Valkey

ROOT = Path(__file__).parents[2]
#: Generated cases per operation; CONFORMANCE_CASES=400 makes well over 10,000 requests in all.
CASES = int(os.environ.get("CONFORMANCE_CASES", "5"))
PHASES = "examples,coverage,fuzzing,stateful" if CASES > 5 else "examples,fuzzing"


@pytest.fixture(scope="module")
def environment(valkey: Valkey, s3: S3) -> dict[str, str]:
    """Settings under which no limit hides an answer, and no wait takes long."""
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
def jobs(environment: dict[str, str]) -> dict[str, str]:
    """One job in each state, by the state's name."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        services = connect(Settings.from_env(os.environ), patience=5)
    services.storage.ensure_bucket("archives")
    store = services.jobs
    made = {name: _job(store, number) for number, name in enumerate(STATES)}
    for name, job_id in made.items():
        STATES[name](store, job_id)
    return made


def _job(store: JobStore, number: int) -> str:
    return store.create("anonymous", JobSpec(file_ids=(number + 1, 10_001))).job.id


def _leave(store: JobStore, job_id: str) -> None:
    """As it is."""


def _run(store: JobStore, job_id: str) -> None:
    assert store.claim(job_id, "w")


def _complete(store: JobStore, job_id: str) -> None:
    claim = store.claim(job_id, "w")
    assert claim
    artifact = Artifact(
        bucket="archives", key="a.zip", name="a.zip", size=22, content_type="application/zip"
    )
    store.complete(claim.lease, artifact, Progress(processed_files=2))


def _fail(store: JobStore, job_id: str) -> None:
    claim = store.claim(job_id, "w")
    assert claim
    failure = Failure(code="FILE_NOT_FOUND", message="File 1 does not exist", retryable=False)
    store.fail(claim.lease, failure)


def _cancel(store: JobStore, job_id: str) -> None:
    store.cancel(job_id)


STATES = {
    "queued": _leave,
    "processing": _run,
    "completed": _complete,
    "failed": _fail,
    "cancelled": _cancel,
}


@pytest.fixture(scope="module")
def api(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    log = tmp_path_factory.mktemp("api") / "log"
    process = Process(
        "api",
        [
            *(sys.executable, "-m", "gunicorn", "-k", "gevent", "-w", "1"),
            *("--limit-request-line", "8190", "-b", f"127.0.0.1:{port}", "api.wsgi:app"),
        ],
        env=environment,
        cwd=ROOT,
        output=log,
    )
    wait_until(lambda: accepts_connections(port), "the API")
    yield f"http://127.0.0.1:{port}"
    process.stop(10)
    assert "Traceback" not in log.read_text()


@pytest.mark.timeout(60 if CASES <= 5 else 3600)
def test_no_generated_request_gets_an_answer_outside_of_the_document(
    api: str, jobs: dict[str, str]
) -> None:
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{api}/openapi.json"),
            *("--phases", PHASES, "--max-examples", str(CASES), "--max-redirects", "0"),
            *("--workers", "1", "--request-timeout", "20", "--continue-on-failure"),
            *("--exclude-checks", "positive_data_acceptance"),
            *("--suppress-health-check", "all", "--warnings", "off", "--no-color"),
        ],
        cwd=ROOT / "tests" / "e2e",
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.e2e.conformance_hooks",
            "PYTHONPATH": str(ROOT),
            "CONFORMANCE_JOBS": ",".join(jobs.values()),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    print(run.stdout[run.stdout.find("= SUMMARY") :])
    assert run.returncode == 0, run.stdout + run.stderr[-2000:]
    assert re.search(r"[1-9]\d* generated", run.stdout), run.stdout[-2000:]
