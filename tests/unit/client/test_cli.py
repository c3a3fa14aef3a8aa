"""The longhaul command: what it prints, where, and with which exit code it ends."""

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
    """Runs the command in an empty folder against answers by (method, path)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, answers: dict[str, httpx.Response | Exception]) -> Result:
        def handle(request: httpx.Request) -> httpx.Response:
            answer = answers[f"{request.method} {request.url.path}"]
            if isinstance(answer, Exception):
                raise answer
            return answer

        def connect(url: str, **options: str | None) -> Longhaul:
            transport = httpx.MockTransport(handle)
            return Longhaul(url, clock=FakeClock(), transport=transport, **options)

        monkeypatch.setattr(cli, "Longhaul", connect)
        return CliRunner().invoke(cli.main, arguments, prog_name="longhaul")

    return run


def answers_of(*events: bytes | BaseException) -> dict[str, httpx.Response | Exception]:
    """An API where the job goes as the events say, and a storage that has the archive."""
    link = httpx.Response(200, json={"downloadUrl": "http://s3.test/archive"})
    return {
        "POST /v1/download/initiate": job("queued"),
        f"GET /v1/download/subscribe/{JOB_ID}": stream(*events),
        f"GET /v1/download/{JOB_ID}": link,
        "GET /archive": httpx.Response(200, stream=Stream(ARCHIVE)),
    }


def test_get_writes_the_archive_and_prints_its_path_alone(longhaul: Run, tmp_path: Path) -> None:
    answers = answers_of(sse(job_json("processing", 2, progress=40)), sse(DONE))
    result = longhaul("get", "10001", "10002", "-o", "out.zip", answers=answers)
    assert (result.exit_code, result.stdout) == (0, "out.zip\n")
    assert (tmp_path / "out.zip").read_bytes() == ARCHIVE
    assert "processing  40%" in result.stderr


def test_get_takes_the_name_from_the_server_but_never_a_folder(
    longhaul: Run, tmp_path: Path
) -> None:
    answers = answers_of(sse({**DONE, "fileName": "../../etc/evil.zip"}))
    result = longhaul("--json", "get", "10001", answers=answers)
    assert json.loads(result.stdout)["path"] == "evil.zip"
    assert (tmp_path / "evil.zip").exists()


def test_get_of_a_job_that_fails_ends_with_1_and_says_why(longhaul: Run) -> None:
    failed = job_json("failed", 2, error="10404 does not exist", errorCode="FILE_NOT_FOUND")
    result = longhaul("get", "10404", answers=answers_of(sse(failed)))
    assert result.exit_code == 1
    assert "10404 does not exist (FILE_NOT_FOUND)" in result.stderr


def test_get_of_wrong_bytes_ends_with_5(longhaul: Run, tmp_path: Path) -> None:
    answers = answers_of(sse({**DONE, "checksum": "crc32:00000000"}))
    result = longhaul("get", "10001", answers=answers)
    assert result.exit_code == 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["get"], ["get", "--job", JOB_ID, "1"], ["get", "abc"]])
def test_wrong_usage_ends_with_2_before_any_request(longhaul: Run, arguments: list[str]) -> None:
    assert longhaul(*arguments, answers={}).exit_code == 2


def test_a_refusal_ends_with_3_and_names_the_reason(longhaul: Run) -> None:
    answers = {f"GET /v1/download/status/{JOB_ID}": problem(404, "JOB_NOT_FOUND")}
    result = longhaul("status", JOB_ID, answers=answers)
    assert (result.exit_code, result.stderr) == (3, "longhaul: because JOB_NOT_FOUND\n")


def test_an_api_that_is_away_ends_with_4(longhaul: Run) -> None:
    answers = {"GET /v1/download/queue/stats": httpx.ConnectError("refused")}
    assert longhaul("stats", answers=answers).exit_code == 4


def test_ctrl_c_ends_with_130_and_says_that_the_job_goes_on(longhaul: Run) -> None:
    result = longhaul("get", "10001", answers=answers_of(KeyboardInterrupt()))
    assert result.exit_code == 130
    assert "the job goes on" in result.stderr


def test_watch_in_json_prints_every_snapshot_on_a_line(longhaul: Run) -> None:
    events = stream(sse(job_json("processing", 2)), sse(DONE))
    answers = {f"GET /v1/download/subscribe/{JOB_ID}": events}
    result = longhaul("--json", "watch", JOB_ID, answers=answers)
    assert [json.loads(line)["version"] for line in result.stdout.splitlines()] == [2, 3]


def test_status_of_a_running_job_ends_with_0(longhaul: Run) -> None:
    answers = {f"GET /v1/download/status/{JOB_ID}": job("processing", progress=40)}
    result = longhaul("status", JOB_ID, answers=answers)
    assert (result.exit_code, result.stdout) == (0, f"{JOB_ID}  processing  40%\n")


def test_cancel_shows_the_job_as_it_is_then(longhaul: Run) -> None:
    answers = {
        f"DELETE /v1/download/{JOB_ID}": httpx.Response(200, json={"status": "cancelled"}),
        f"GET /v1/download/status/{JOB_ID}": httpx.Response(410, json=job_json("cancelled", 3)),
    }
    result = longhaul("cancel", JOB_ID, answers=answers)
    assert (result.exit_code, result.stdout.split()[1]) == (0, "cancelled")


def test_jobs_are_listed_a_line_each(longhaul: Run) -> None:
    page = httpx.Response(200, json={"jobs": [job_json("queued", queuePosition=3)]})
    result = longhaul("jobs", answers={"GET /v1/download/jobs": page})
    assert "3 ahead" in result.stdout


@pytest.fixture
def dead_letters() -> dict[str, httpx.Response | Exception]:
    letters = [
        {
            "job": job_json("failed", 4, error="no answer", errorCode="NETWORK_ERROR"),
            "userId": "ada",
            "since": "2026-01-02T03:04:05.000Z",
            "attempts": [{"attempt": number + 1} for number in range(tries)],
        }
        for tries in (3, 1)
    ]
    page = httpx.Response(200, json={"deadLetters": letters, "nextCursor": None})
    return {"GET /v1/admin/dead-letters": page}


def test_dead_letters_in_json_are_a_line_each(
    longhaul: Run, dead_letters: dict[str, httpx.Response | Exception]
) -> None:
    result = longhaul("--json", "dead-letters", answers=dead_letters)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["job"]["jobId"], len(line["attempts"])) for line in lines] == [
        (JOB_ID, 3),
        (JOB_ID, 1),
    ]


def test_dead_letters_say_how_often_they_were_tried_and_why_they_failed(
    longhaul: Run, dead_letters: dict[str, httpx.Response | Exception]
) -> None:
    first, second = longhaul("dead-letters", answers=dead_letters).stdout.splitlines()
    assert first == f"{JOB_ID}  tried 3 times   no answer (NETWORK_ERROR)"
    assert "tried once" in second


def test_the_shell_completes_job_ids(longhaul: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = httpx.Response(200, json={"jobs": [job_json("queued")]})
    monkeypatch.setenv("_LONGHAUL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "longhaul status 3f")
    monkeypatch.setenv("COMP_CWORD", "2")
    result = longhaul(answers={"GET /v1/download/jobs": page})
    assert result.stdout == f"plain,{JOB_ID}\n"
