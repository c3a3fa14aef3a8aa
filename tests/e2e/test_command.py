"""Every subcommand of ``longhaul`` with the whole system: its output and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from longhaul_client import Longhaul, cli
from stack.process import free_port, wait_until
from stack.system import System
from tests.support.http_origin import Origin, Page

#: As installed by `make`.
COMMAND = Path(sys.executable).with_name("longhaul")

GOOD, SLOW, FAILING, MISSING = 10_001, 10_002, 10_003, 10_404
USER = "terminal"

Done = subprocess.CompletedProcess[str]
Command = Callable[..., Done]

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    origin = Origin()
    origin.pages[f"/{GOOD}"] = Page(b"good " * 1000)
    origin.pages[f"/{SLOW}"] = Page(b"slow " * 20_000, delay=0.3)
    origin.pages[f"/{FAILING}"] = Page(b"failing")
    yield origin
    origin.close()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, origin: Origin) -> Iterator[System]:
    """A system that does not retry failed jobs."""
    env = {
        "SOURCE_URL_TEMPLATE": f"{origin.url}/{{file_id}}",
        "MAX_RETRIES": "0",
        "MAX_ACTIVE_JOBS": "50",
    }
    with System(tmp_path_factory.mktemp("command"), files=(), env=env) as running:
        yield running


@pytest.fixture
def environment(own: System) -> dict[str, str]:
    return {
        **os.environ,
        "LONGHAUL_URL": own.base_url,
        "LONGHAUL_USER": USER,
        "LONGHAUL_TOKEN": own.env["ADMIN_TOKEN"],
    }


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Command:
    def start(*arguments: str, **environ: str) -> Done:
        return subprocess.run(
            [COMMAND, *arguments],
            cwd=tmp_path,
            env={**environment, **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return start


@pytest.fixture
def api(own: System) -> Iterator[Longhaul]:
    with Longhaul(own.base_url, user=USER) as client:
        yield client


@pytest.fixture
def failed_job(origin: Origin, api: Longhaul) -> str:
    """A job that failed with a temporary error."""
    origin.pages[f"/{FAILING}"].error_statuses = [503] * 1000
    job_id = api.start([FAILING]).job_id
    wait_until(lambda: api.status(job_id).status == "failed", "the failed job")
    origin.pages[f"/{FAILING}"].error_statuses = []
    return job_id


def test_every_command_is_tested_here() -> None:
    assert set(cli.main.commands) == {
        "get",
        "status",
        "watch",
        "cancel",
        "retry",
        "jobs",
        "stats",
        "dead-letters",
        "files",
        "requeue",
        "pause",
        "resume",
        "link",
        "links",
        "unlink",
        "delete-archive",
        "usage",
        "inspect",
        "act",
        "audit",
        "webhooks",
    }


def test_get_downloads_the_archive_of_an_earlier_job(run: Command, tmp_path: Path) -> None:
    started = run("--json", "get", str(GOOD), str(SLOW), "-o", "first.zip")
    assert started.returncode == 0, started.stderr
    job_id = json.loads(started.stdout)["jobId"]
    again = run("get", "--job", job_id, "-o", "second.zip")
    assert (again.returncode, again.stdout) == (0, "second.zip\n"), again.stderr
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


def test_get_can_skip_missing_files(run: Command) -> None:
    arguments = ("get", str(GOOD), str(MISSING), "--skip-missing", "-o", "rest.zip")
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (0, "rest.zip\n"), done.stderr
    assert "1 of 2 files is missing" in done.stderr
    assert run(*arguments).returncode == 2
    assert run(*arguments, "--force", "--fail-if-incomplete").returncode == 6


def test_files_lists_the_files_of_a_job(run: Command) -> None:
    started = run("get", f"{GOOD}-{SLOW}", str(MISSING), "--skip-missing", "--no-wait")
    assert started.returncode == 0, started.stderr
    job_id = started.stdout.split()[0]
    assert run("watch", job_id).returncode == 0
    rows = [line.split()[:2] for line in run("files", job_id).stdout.splitlines()]
    assert rows == [[str(GOOD), "done"], [str(SLOW), "done"], [str(MISSING), "missing"]]


def test_get_writes_to_standard_output(
    run: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    to_file = run("get", str(GOOD), "-o", "out")
    arguments = (str(COMMAND), "get", str(GOOD), "-o", "-")
    done = subprocess.run(arguments, env=environment, capture_output=True, timeout=60, check=True)
    assert done.stdout == Path(tmp_path, to_file.stdout.strip()).read_bytes()


def test_operators_pause_resume_and_requeue(run: Command, api: Longhaul, failed_job: str) -> None:
    assert run("pause").returncode == 0
    try:
        assert api.stats()["paused"]
        assert run("requeue", failed_job).stdout.split()[1] == "queued"
    finally:
        assert run("resume").returncode == 0
    assert run("watch", failed_job).returncode == 0


def test_links_are_created_listed_and_revoked(run: Command, api: Longhaul) -> None:
    job_id = api.wait(api.start([GOOD, SLOW]).job_id).job_id
    url = run("link", job_id, "--max-uses", "2").stdout.strip()
    assert httpx.get(url).status_code == 302
    link_id, uses, *state = run("links", job_id).stdout.split()
    assert (uses, state[0]) == ("1/2", "until")
    assert run("unlink", job_id, link_id).returncode == 0
    assert run("links", job_id).stdout.split()[2:] == ["revoked"]
    assert httpx.get(url).status_code == 410


def test_a_deleted_archive_cannot_be_downloaded(run: Command, api: Longhaul) -> None:
    job_id = api.wait(api.start([GOOD, SLOW]).job_id).job_id
    assert run("delete-archive", job_id).returncode == 0
    done = run("get", "--job", job_id)
    assert done.returncode != 0
    assert "expired" in done.stderr


def test_usage_shows_the_limits(run: Command) -> None:
    done = run("usage")
    assert done.returncode == 0, done.stderr
    assert "50" in done.stdout.split()


def test_operators_inspect_and_retry_a_job_and_see_that_in_the_audit_log(
    run: Command, failed_job: str
) -> None:
    inspected = run("inspect", failed_job)
    assert f"job       {failed_job}" in inspected.stdout, inspected.stderr
    assert "failed" in inspected.stdout
    assert run("act", "retry", failed_job, "--dry-run").stdout == "1 jobs match.\n"
    assert run("act", "retry", failed_job, "--yes").stdout == "1 jobs changed.\n"
    assert run("audit").stdout.splitlines()[0].split()[1:] == ["retry", "1", "jobs", "ADMIN_TOKEN"]


def test_webhook_secrets_are_shown_and_rotated(run: Command, api: Longhaul) -> None:
    first = run("webhooks", "secret").stdout.strip()
    assert first.startswith("whsec_")
    second = run("webhooks", "rotate").stdout.strip()
    assert second.startswith("whsec_")
    assert second != first
    job_id = api.wait(api.start([GOOD]).job_id).job_id
    assert run("webhooks", "list", job_id).stdout == ""
    replayed = run("webhooks", "replay", "--since", "2026-01-01")
    assert replayed.stdout == "0 webhooks will be sent again.\n", replayed.stderr


def test_watch_follows_a_job_until_it_is_completed(run: Command, api: Longhaul) -> None:
    job_id = api.start([SLOW, GOOD]).job_id
    done = run("--json", "watch", job_id)
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert seen[-1]["status"] == "completed"
    assert [job["version"] for job in seen] == sorted({job["version"] for job in seen})


def test_cancel_stops_a_job_and_status_then_exits_with_1(run: Command, api: Longhaul) -> None:
    job_id = api.start([SLOW]).job_id
    done = run("cancel", job_id)
    assert (done.returncode, done.stdout.split()[:2]) == (0, [job_id, "cancelled"]), done.stderr
    assert run("status", job_id).returncode == 1
    assert run("cancel", job_id).returncode == 0


def test_retry_runs_a_failed_job_again(run: Command, failed_job: str) -> None:
    done = run("retry", failed_job)
    assert (done.returncode, done.stdout.split()[1]) == (0, "queued"), done.stderr
    assert run("watch", failed_job).returncode == 0
    assert run("retry", failed_job).returncode == 3


def test_dead_letters_lists_failed_jobs(run: Command, failed_job: str) -> None:
    done = run("dead-letters")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(failed_job)]
    assert "tried once" in line
    assert line.endswith("(TEMPORARY_UNAVAILABLE)")
    letters = [json.loads(line) for line in run("--json", "dead-letters").stdout.splitlines()]
    assert failed_job in [letter["job"]["jobId"] for letter in letters]


def test_jobs_and_stats_print_current_values(run: Command, api: Longhaul) -> None:
    job_id = api.wait(api.start([GOOD]).job_id).job_id
    assert run("jobs", "--limit", "1").stdout.split()[:2] == [job_id, "completed"]
    assert json.loads(run("--json", "stats").stdout)["completed"] >= 1


def test_usage_errors_rejections_and_an_unreachable_api_have_different_exit_codes(
    run: Command,
) -> None:
    assert run("get").returncode == 2
    assert run("status", "00000000-0000-4000-8000-000000000000").returncode == 3
    assert run("stats", LONGHAUL_URL=f"http://127.0.0.1:{free_port()}").returncode == 4


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands_and_job_ids(run: Command, api: Longhaul, shell: str) -> None:
    script = run(_LONGHAUL_COMPLETE=f"{shell}_source")
    assert (script.returncode, "longhaul" in script.stdout) == (0, True)
    job_id = api.start([GOOD]).job_id
    words = {"COMP_WORDS": f"longhaul status {job_id[:6]}", "COMP_CWORD": "2"}
    if shell == "fish":
        words["COMP_CWORD"] = job_id[:6]
    completed = run(_LONGHAUL_COMPLETE=f"{shell}_complete", **words)
    assert job_id in completed.stdout
