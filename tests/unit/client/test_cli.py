"""The longhaul command: its output and its exit codes."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from longhaul_client import Longhaul, cli, parameters
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
def requests() -> list[httpx.Request]:
    """The requests that ``longhaul`` sent."""
    return []


@pytest.fixture
def longhaul(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, requests: list[httpx.Request]) -> Run:
    """Run the command in an empty directory with a response for each "METHOD path"."""
    monkeypatch.chdir(tmp_path)

    def run(
        *arguments: str,
        responses: dict[str, httpx.Response | Exception],
        charset: str = "utf-8",
    ) -> Result:
        def handle(request: httpx.Request) -> httpx.Response:
            requests.append(request)
            response = responses[f"{request.method} {request.url.path}"]
            if isinstance(response, Exception):
                raise response
            return response

        def connect(url: str, **options: str | None) -> Longhaul:
            transport = httpx.MockTransport(handle)
            return Longhaul(url, clock=FakeClock(), transport=transport, **options)

        monkeypatch.setattr(cli, "Longhaul", connect)
        monkeypatch.setattr(parameters, "Longhaul", connect)
        return CliRunner(charset=charset).invoke(cli.main, arguments, prog_name="longhaul")

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


@pytest.mark.parametrize(
    "arguments",
    [
        ["get"],
        ["get", "--job", JOB_ID, "1"],
        ["get", "abc"],
        ["get", "1-"],
        ["get", "5-1"],
        ["get", "1-99999999"],
        ["get", "1", "-o", "existing.zip"],
        ["get", "1", "-o", "missing/out.zip"],
        ["get", "1", "-o", "missing/"],
        ["get", "1", "-o", "existing.zip/out.zip"],
        ["get", "1", "-o", "/dev/null", "--force"],
        ["get", "1", "--no-wait", "-o", "out.zip"],
        ["get", "--job", JOB_ID, "--no-wait"],
        ["--json", "get", "1", "-o", "-"],
        ["--url", "ftp://api.test", "stats"],
        ["--url", "http://[::1", "stats"],
        ["--token", "a\nb", "stats"],
        ["--token", "gehe\u00efm", "stats"],
        ["--user", "a\r\nX-Admin: 1", "stats"],
    ],
)
def test_a_usage_error_exits_with_2_before_any_request(
    longhaul: Run, tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "existing.zip").write_bytes(b"mine")
    result = longhaul(*arguments, responses={})
    assert (result.exit_code, result.stdout) == (2, "")
    assert isinstance(result.exception, SystemExit)
    assert "a\nb" not in result.stderr
    assert (tmp_path / "existing.zip").read_bytes() == b"mine"


def test_white_space_around_the_token_is_ignored(longhaul: Run) -> None:
    responses = {"GET /v1/download/queue/stats": httpx.Response(200, json={"completed": 1})}
    assert longhaul("--token", " t0ken\r\n", "stats", responses=responses).exit_code == 0


def test_files_are_put_into_folders(longhaul: Run, requests: list[httpx.Request]) -> None:
    options = ["--path", "2=a/two.pdf", "--path", "8-9=b/", "--path", "2=copy.pdf", "--manifest"]
    responses = {"POST /v1/download/initiate": job("queued")}
    result = longhaul("get", "1-2", *options, "--no-wait", responses=responses)
    assert result.exit_code == 0
    assert json.loads(requests[0].content) == {
        "files": [
            {"file_id": 1},
            {"file_id": 2, "path": "a/two.pdf"},
            {"file_id": 2, "path": "copy.pdf"},
            {"file_id": 8, "path": "b/"},
            {"file_id": 9, "path": "b/"},
        ],
        "manifest": True,
    }


@pytest.mark.parametrize("path", ["2", "2=", "=a", "x=a/", "1-2=a", "2-1=a/"])
def test_an_invalid_path_is_a_usage_error(longhaul: Run, path: str) -> None:
    result = longhaul("get", "1", "--path", path, responses={})
    assert result.exit_code == 2
    assert "--path" in result.stderr


@pytest.mark.parametrize("option", [["--path", "1=a/"], ["--manifest"]])
def test_the_content_of_an_earlier_jobs_archive_cannot_be_changed(
    longhaul: Run, option: list[str]
) -> None:
    assert longhaul("get", "--job", JOB_ID, *option, responses={}).exit_code == 2


def test_ranges_stand_for_all_their_ids(longhaul: Run, requests: list[httpx.Request]) -> None:
    responses = {"POST /v1/download/initiate": job("queued")}
    result = longhaul("get", "10001-10003", "7", "--no-wait", responses=responses)
    assert (result.exit_code, result.stdout.split()[:2]) == (0, [JOB_ID, "queued"])
    assert json.loads(requests[0].content)["file_ids"] == [10001, 10002, 10003, 7]


def test_get_writes_the_archive_to_standard_output(longhaul: Run, tmp_path: Path) -> None:
    result = longhaul("get", "10001", "-o", "-", responses=responses_for(sse(DONE)))
    assert (result.exit_code, result.stdout_bytes) == (0, ARCHIVE)
    assert list(tmp_path.iterdir()) == []


def test_get_to_standard_output_exits_with_5_when_the_checksum_is_wrong(longhaul: Run) -> None:
    responses = responses_for(sse({**DONE, "checksum": "crc32:00000000"}))
    assert longhaul("get", "10001", "-o", "-", responses=responses).exit_code == 5


def test_get_overwrites_a_file_only_with_force(longhaul: Run, tmp_path: Path) -> None:
    (tmp_path / "download.zip").write_bytes(b"mine")
    result = longhaul("get", "10001", responses=responses_for(sse(DONE)))
    assert (result.exit_code, result.stdout) == (0, "download (2).zip\n")
    assert (tmp_path / "download.zip").read_bytes() == b"mine"
    result = longhaul("get", "10001", "--force", responses=responses_for(sse(DONE)))
    assert (result.exit_code, result.stdout) == (0, "download.zip\n")
    assert (tmp_path / "download.zip").read_bytes() == ARCHIVE


def test_a_file_that_appears_during_the_transfer_is_not_overwritten(
    longhaul: Run, tmp_path: Path
) -> None:
    responses = responses_for(sse(DONE))

    class Storage(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            (tmp_path / "out.zip").write_bytes(b"mine")
            yield ARCHIVE

    responses["GET /archive"] = httpx.Response(200, stream=Storage())
    result = longhaul("get", "10001", "-o", "out.zip", responses=responses)
    assert (result.exit_code, (tmp_path / "out.zip").read_bytes()) == (5, b"mine")


@pytest.mark.parametrize(
    ("offered", "written"),
    [
        (".bashrc", "bashrc"),
        ("...", f"{JOB_ID}.zip"),
        ("..\\..\\evil.zip", "evil.zip"),
        ("/etc/passwd", "passwd"),
        ("a\x1b[2Jb\u202egpj.zip", "a_[2Jb_gpj.zip"),
        ("n" * 300 + ".zip", "n" * 196 + ".zip"),
        ("\u6e2c" * 100 + ".zip", "\u6e2c" * 65 + ".zip"),
        # Microsoft: Naming Files, Paths, and Namespaces.
        ("C:evil.zip", "C_evil.zip"),
        ("Report 12:30.zip", "Report 12_30.zip"),
        ('<a>"b"|c?*.zip', "_a__b__c__.zip"),
        ("a.zip. .", "a.zip"),
        ("a" * 199 + " b", "a" * 199),
        ("NUL.zip", "_NUL.zip"),
        ("com1.tar.gz", "_com1.tar.gz"),
        ("lpt\xb9", "_lpt\xb9"),
        ("aux .zip", "_aux .zip"),
        ("nullable.zip", "nullable.zip"),
    ],
)
def test_a_file_name_of_the_api_is_visible_and_stays_in_the_directory(
    longhaul: Run, tmp_path: Path, offered: str, written: str
) -> None:
    responses = responses_for(sse({**DONE, "fileName": offered}))
    assert longhaul("get", "10001", responses=responses).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == [written]


def test_get_with_json_prints_the_failed_job(longhaul: Run) -> None:
    failed = job_json("failed", 2, error="10404 does not exist", errorCode="FILE_NOT_FOUND")
    result = longhaul("--json", "get", "10404", responses=responses_for(sse(failed)))
    assert result.exit_code == 1
    assert json.loads(result.stdout) == failed


@pytest.mark.parametrize(("arguments", "code"), [([], 0), (["--fail-if-incomplete"], 6)])
def test_get_warns_of_files_that_are_missing_from_the_archive(
    longhaul: Run, tmp_path: Path, arguments: list[str], code: int
) -> None:
    incomplete = {**DONE, "missingFiles": 1, "totalFiles": 6}
    result = longhaul("get", "10001-10006", *arguments, responses=responses_for(sse(incomplete)))
    assert (result.exit_code, result.stdout) == (code, "download.zip\n")
    assert "warning: 1 of 6 files is missing from the archive" in result.stderr
    assert (tmp_path / "download.zip").exists()


def test_a_full_disk_exits_with_5_and_one_line(
    longhaul: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    result = longhaul("get", "10001", "-o", "out.zip", responses=responses_for(sse(DONE)))
    assert result.exit_code == 5
    last = result.stderr.splitlines()[-1]
    assert last == "longhaul: cannot write out.zip: No space left on device"


def test_ctrl_c_during_the_transfer_prints_the_command_that_resumes_it(
    longhaul: Run, tmp_path: Path
) -> None:
    responses = responses_for(sse({**DONE, "fileName": "two words.zip"}))
    responses["GET /archive"] = httpx.Response(200, stream=Stream(b"PK", KeyboardInterrupt()))
    options = ("--url", "http://me:s3cret@api.test", "--token", "s3cret", "--user", "[ada")
    result = longhaul(*options, "get", "10001", responses=responses)
    assert result.exit_code == 130
    command = (
        f"longhaul --url http://me@api.test --user '[ada' get --job {JOB_ID} -o 'two words.zip'"
    )
    assert result.stderr.splitlines()[-1].endswith(f"to resume the download: {command}")
    assert "s3cret" not in result.output
    (part,) = tmp_path.iterdir()
    assert part.read_bytes() == b"PK"


def test_files_lists_every_page(longhaul: Run) -> None:
    rows = [
        {"file_id": 1, "state": "done", "size": 2048, "fileName": "a.txt"},
        {"file_id": 2, "state": "missing", "size": None, "fileName": None},
    ]
    rows[0] |= {"error": None, "errorCode": None}
    rows[1] |= {"error": "The file does not exist.", "errorCode": "FILE_NOT_FOUND"}
    page = httpx.Response(200, json={"files": rows, "nextCursor": None})
    result = longhaul("files", JOB_ID, responses={f"GET /v1/download/status/{JOB_ID}/files": page})
    first, second = (" ".join(line.split()) for line in result.stdout.splitlines())
    assert first == "1 done 2.0 KB a.txt"
    assert second == "2 missing The file does not exist. (FILE_NOT_FOUND)"


def test_operators_requeue_pause_and_resume(longhaul: Run) -> None:
    responses: dict[str, httpx.Response | Exception] = {
        f"POST /v1/admin/dead-letters/{JOB_ID}/requeue": job("queued"),
        "POST /v1/admin/queue/pause": httpx.Response(200, json={"paused": True}),
        "POST /v1/admin/queue/resume": httpx.Response(200, json={"paused": False}),
    }
    assert longhaul("requeue", JOB_ID, responses=responses).stdout.split()[1] == "queued"
    assert longhaul("pause", responses=responses).stdout == "The queue is paused.\n"
    resumed = longhaul("--json", "resume", responses=responses)
    assert json.loads(resumed.stdout) == {"paused": False}


def test_a_response_of_another_server_exits_with_4(longhaul: Run) -> None:
    page = httpx.Response(200, html="<h1>Hotel WiFi</h1>")
    result = longhaul("status", JOB_ID, responses={f"GET /v1/download/status/{JOB_ID}": page})
    assert result.exit_code == 4
    assert "not from the Longhaul API" in result.stderr


def test_a_job_id_cannot_select_another_path(longhaul: Run, requests: list[httpx.Request]) -> None:
    responses = {"GET /v1/download/status/../admin": job()}
    assert longhaul("status", "../admin", responses=responses).exit_code == 0
    assert requests[0].url.raw_path == b"/v1/download/status/..%2Fadmin"


@pytest.mark.parametrize("arguments", [["status"], ["--json", "status"]])
def test_output_works_in_an_encoding_that_lacks_characters(
    longhaul: Run, arguments: list[str]
) -> None:
    done = job("completed", 3, fileName="\u6e2c\u00dc.zip", fileSize=1)
    responses = {f"GET /v1/download/status/{JOB_ID}": done}
    result = longhaul(*arguments, JOB_ID, responses=responses, charset="cp1252")
    assert result.exit_code == 0
    if "--json" in arguments:
        assert json.loads(result.stdout)["fileName"] == "\u6e2c\u00dc.zip"
    else:
        assert "\\u6e2c" in result.stdout


def test_a_pipe_that_closes_early_is_not_an_error_message(
    longhaul: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object, **__: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("click.echo", closed)
    responses = {f"GET /v1/download/status/{JOB_ID}": job()}
    result = longhaul("status", JOB_ID, responses=responses)
    # 128 + SIGPIPE: the job did not fail, which 1 would mean.
    assert (result.exit_code, result.stderr) == (141, "")


def test_the_reader_of_standard_output_may_close_it() -> None:
    program = (
        "import sys\n"
        "from longhaul_client import cli\n"
        "cli.Longhaul.stats = lambda self: {f'name {n}': n for n in range(10_000)}\n"
        "cli.main(['stats'], prog_name='longhaul')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


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


def test_status_says_that_a_job_waits_for_a_service_or_retries(longhaul: Run) -> None:
    path = f"GET /v1/download/status/{JOB_ID}"
    waiting = job_json("queued", 4, retryAt="2026-01-01T00:00:05.000Z", attempt=1, maxAttempts=4)
    for members, text in (
        ({}, "a service is unavailable, trying again"),
        ({"error": "It broke"}, "attempt 1 of 4 failed, retrying: It broke"),
    ):
        response = httpx.Response(200, json={**waiting, **members})
        result = longhaul("status", JOB_ID, responses={path: response})
        assert result.stdout.rstrip().endswith(text)


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
    assert "position 3 in the queue" in result.stdout


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


@pytest.mark.parametrize("command", ["status", "requeue"])
def test_the_shell_completes_job_ids(
    longhaul: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    page = httpx.Response(200, json={"jobs": [job_json("queued")]})
    monkeypatch.setenv("_LONGHAUL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", f"longhaul {command} 3f")
    monkeypatch.setenv("COMP_CWORD", "2")
    result = longhaul(responses={"GET /v1/download/jobs": page})
    assert result.stdout == f"plain,{JOB_ID}\n"


LINK = {
    "linkId": "0123456789abcdef",
    "url": "https://downloads.example/d/0secret",
    "expiresAt": "2026-11-29T12:00:00.000Z",
    "uses": 2,
    "maxUses": None,
    "revokedAt": None,
}


def test_link_prints_a_new_link(longhaul: Run, requests: list[httpx.Request]) -> None:
    path = f"POST /v1/download/{JOB_ID}/links"
    result = longhaul(
        "link", JOB_ID, "--max-uses", "3", "--ip", "192.0.2.0/24", "--name", "a.zip",
        responses={path: httpx.Response(201, json=LINK)},
    )  # fmt: skip
    assert (result.exit_code, result.output) == (0, "https://downloads.example/d/0secret\n")
    assert json.loads(requests[0].content) == {
        "maxUses": 3,
        "ip": "192.0.2.0/24",
        "fileName": "a.zip",
    }


def test_link_is_not_repeated_after_an_error(longhaul: Run, requests: list[httpx.Request]) -> None:
    path = f"POST /v1/download/{JOB_ID}/links"
    result = longhaul("link", JOB_ID, responses={path: problem(503, "BACKEND_UNAVAILABLE")})
    assert (result.exit_code, len(requests)) == (3, 1)


def test_links_are_listed_and_revoked(longhaul: Run) -> None:
    path = f"/v1/download/{JOB_ID}/links"
    listed = longhaul(
        "links", JOB_ID, responses={f"GET {path}": httpx.Response(200, json={"links": [LINK]})}
    )
    assert listed.output == "0123456789abcdef  2/-  until 2026-11-29T12:00:00.000Z\n"
    revoked = longhaul(
        "unlink", JOB_ID, LINK["linkId"],
        responses={f"DELETE {path}/{LINK['linkId']}": httpx.Response(204)},
    )  # fmt: skip
    assert (revoked.exit_code, revoked.output) == (0, "")


def test_the_archive_of_a_job_is_deleted(longhaul: Run) -> None:
    path = f"DELETE /v1/download/{JOB_ID}/archive"
    deleted = longhaul("delete-archive", JOB_ID, responses={path: httpx.Response(204)})
    assert (deleted.exit_code, deleted.output) == (0, "")
    rejected = longhaul("delete-archive", JOB_ID, responses={path: problem(409, "JOB_CONFLICT")})
    assert rejected.exit_code == 3


USAGE = {
    "plan": "pro",
    "limits": {"priorities": ["low"], "activeJobs": 2, "bytesPerDay": None},
    "today": {"bytes": 7, "resetAt": "2026-11-30T00:00:00.000Z"},
    "days": [
        {"day": "2026-11-29", "jobs": 4, "completed": 3, "failed": 1, "cancelled": 0, "bytes": 7}
    ],
}


def test_usage_shows_the_plan_and_the_days(longhaul: Run, requests: list[httpx.Request]) -> None:
    responses: dict[str, httpx.Response | Exception] = {
        "GET /v1/download/usage": httpx.Response(200, json=USAGE)
    }
    shown = longhaul("usage", "--days", "7", responses=responses)
    assert shown.output.splitlines() == [
        "plan pro",
        'priorities          ["low"]',
        "activeJobs          2",
        "bytesPerDay         unlimited",
        "bytes today         7",
        "2026-11-29  3 of 4 jobs completed  7 bytes",
    ]
    assert requests[-1].url.query == b"days=7"
    assert json.loads(longhaul("--json", "usage", responses=responses).output) == USAGE


def test_usage_without_plans_and_history_shows_the_limits(longhaul: Run) -> None:
    body = {**USAGE, "plan": None, "today": {"bytes": None}, "days": None}
    responses: dict[str, httpx.Response | Exception] = {
        "GET /v1/download/usage": httpx.Response(200, json=body)
    }
    assert len(longhaul("usage", responses=responses).output.splitlines()) == 3
