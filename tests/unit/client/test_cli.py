"""The longhaul command: its output and its exit codes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from longhaul_client import Longhaul, cli
from tests.support.client_fakes import JOB_ID, FakeClock, Stream, job, job_json, problem, stream

Run = Callable[..., Result]

ARCHIVE = b"PK" + bytes(1000)
DONE = job_json(
    "completed",
    3,
    progress=100,
    fileName="download.zip",
    fileSize=len(ARCHIVE),
    checksum=f"crc32:{zlib.crc32(ARCHIVE):08x}",
)


def sse(body: dict[str, object]) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()


@pytest.fixture
def longhaul(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command in an empty directory with a response for each "METHOD path"."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, responses: dict[str, httpx.Response | Exception]) -> Result:
        def handle(request: httpx.Request) -> httpx.Response:
            response = responses[f"{request.method} {request.url.path}"]
            if isinstance(response, Exception):
                raise response
            return response

        def connect(url: str, **options: str | None) -> Longhaul:
            transport = httpx.MockTransport(handle)
            return Longhaul(url, clock=FakeClock(), transport=transport, **options)

        monkeypatch.setattr(cli, "Longhaul", connect)
        return CliRunner().invoke(cli.main, arguments, prog_name="longhaul")

    return run


def responses_for(*events: bytes | BaseException) -> dict[str, httpx.Response | Exception]:
    """Return responses of an API that sends these events and of a storage with the archive."""
    link = httpx.Response(200, json={"downloadUrl": "http://s3.test/archive"})
    return {
        "POST /v1/download/initiate": job("queued"),
        f"GET /v1/download/subscribe/{JOB_ID}": stream(*events),
        f"GET /v1/download/{JOB_ID}": link,
        "GET /archive": httpx.Response(200, stream=Stream(ARCHIVE)),
    }


def test_get_writes_the_archive_and_prints_only_its_path(longhaul: Run, tmp_path: Path) -> None:
    responses = responses_for(sse(job_json("processing", 2, progress=40)), sse(DONE))
    result = longhaul("get", "10001", "10002", "-o", "out.zip", responses=responses)
    assert (result.exit_code, result.stdout) == (0, "out.zip\n")
    assert (tmp_path / "out.zip").read_bytes() == ARCHIVE
    assert "processing  40%" in result.stderr


def test_get_uses_the_file_name_of_the_api_but_never_its_directory(
    longhaul: Run, tmp_path: Path
) -> None:
    responses = responses_for(sse({**DONE, "fileName": "../../etc/evil.zip"}))
    result = longhaul("--json", "get", "10001", responses=responses)
    assert json.loads(result.stdout)["path"] == "evil.zip"
    assert (tmp_path / "evil.zip").exists()


def test_get_exits_with_1_and_prints_the_reason_when_the_job_fails(longhaul: Run) -> None:
    failed = job_json("failed", 2, error="10404 does not exist", errorCode="FILE_NOT_FOUND")
    result = longhaul("get", "10404", responses=responses_for(sse(failed)))
    assert result.exit_code == 1
    assert "10404 does not exist (FILE_NOT_FOUND)" in result.stderr


def test_get_exits_with_5_when_the_checksum_is_wrong(longhaul: Run, tmp_path: Path) -> None:
    responses = responses_for(sse({**DONE, "checksum": "crc32:00000000"}))
    result = longhaul("get", "10001", responses=responses)
    assert result.exit_code == 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["get"], ["get", "--job", JOB_ID, "1"], ["get", "abc"]])
def test_a_usage_error_exits_with_2_before_any_request(longhaul: Run, arguments: list[str]) -> None:
    assert longhaul(*arguments, responses={}).exit_code == 2


def test_a_rejected_request_exits_with_3_and_prints_the_reason(longhaul: Run) -> None:
    responses = {f"GET /v1/download/status/{JOB_ID}": problem(404, "JOB_NOT_FOUND")}
    result = longhaul("status", JOB_ID, responses=responses)
    assert (result.exit_code, result.stderr) == (3, "longhaul: because JOB_NOT_FOUND\n")


def test_an_unreachable_api_exits_with_4(longhaul: Run) -> None:
    responses = {"GET /v1/download/queue/stats": httpx.ConnectError("refused")}
    assert longhaul("stats", responses=responses).exit_code == 4


def test_ctrl_c_exits_with_130_and_says_that_the_job_continues(longhaul: Run) -> None:
    result = longhaul("get", "10001", responses=responses_for(KeyboardInterrupt()))
    assert result.exit_code == 130
    assert "the job continues" in result.stderr


def test_watch_with_json_prints_one_snapshot_per_line(longhaul: Run) -> None:
    events = stream(sse(job_json("processing", 2)), sse(DONE))
    responses = {f"GET /v1/download/subscribe/{JOB_ID}": events}
    result = longhaul("--json", "watch", JOB_ID, responses=responses)
    assert [json.loads(line)["version"] for line in result.stdout.splitlines()] == [2, 3]


def test_status_of_a_running_job_exits_with_0(longhaul: Run) -> None:
    responses = {f"GET /v1/download/status/{JOB_ID}": job("processing", progress=40)}
    result = longhaul("status", JOB_ID, responses=responses)
    assert (result.exit_code, result.stdout) == (0, f"{JOB_ID}  processing  40%\n")


def test_cancel_prints_the_cancelled_job(longhaul: Run) -> None:
    responses = {
        f"DELETE /v1/download/{JOB_ID}": httpx.Response(200, json={"status": "cancelled"}),
        f"GET /v1/download/status/{JOB_ID}": httpx.Response(410, json=job_json("cancelled", 3)),
    }
    result = longhaul("cancel", JOB_ID, responses=responses)
    assert (result.exit_code, result.stdout.split()[1]) == (0, "cancelled")


def test_jobs_prints_one_job_per_line(longhaul: Run) -> None:
    page = httpx.Response(200, json={"jobs": [job_json("queued", queuePosition=3)]})
    result = longhaul("jobs", responses={"GET /v1/download/jobs": page})
    assert "3 ahead" in result.stdout


@pytest.fixture
def dead_letters() -> dict[str, httpx.Response | Exception]:
    letters = [
        {
            "job": job_json("failed", 4, error="no answer", errorCode="NETWORK_ERROR"),
            "userId": "ada",
            "since": "2026-01-02T03:04:05.000Z",
            "attempts": [{"attempt": number + 1} for number in range(attempts)],
        }
        for attempts in (3, 1)
    ]
    page = httpx.Response(200, json={"deadLetters": letters, "nextCursor": None})
    return {"GET /v1/admin/dead-letters": page}


def test_dead_letters_with_json_prints_one_per_line(
    longhaul: Run, dead_letters: dict[str, httpx.Response | Exception]
) -> None:
    result = longhaul("--json", "dead-letters", responses=dead_letters)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["job"]["jobId"], len(line["attempts"])) for line in lines] == [
        (JOB_ID, 3),
        (JOB_ID, 1),
    ]


def test_dead_letters_prints_the_number_of_attempts_and_the_reason(
    longhaul: Run, dead_letters: dict[str, httpx.Response | Exception]
) -> None:
    first, second = longhaul("dead-letters", responses=dead_letters).stdout.splitlines()
    assert first == f"{JOB_ID}  tried 3 times   no answer (NETWORK_ERROR)"
    assert "tried once" in second


def test_the_shell_completes_job_ids(longhaul: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = httpx.Response(200, json={"jobs": [job_json("queued")]})
    monkeypatch.setenv("_LONGHAUL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "longhaul status 3f")
    monkeypatch.setenv("COMP_CWORD", "2")
    result = longhaul(responses={"GET /v1/download/jobs": page})
    assert result.stdout == f"plain,{JOB_ID}\n"
