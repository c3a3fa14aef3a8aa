"""The commands for operators about the jobs of all users."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from longhaul_client import Longhaul, cli
from tests.support.client_fakes import JOB_ID, FakeClock

Run = Callable[..., Result]
ACTIONS = "POST /v1/admin/job-actions"

LISTED = {
    **{"jobId": JOB_ID, "userId": "ada", "status": "failed", "progress": 40},
    **{"errorCode": "FILE_NOT_FOUND", "createdAt": "2026-01-01T00:00:00.000Z"},
}
RESULT = {"action": "cancel", "dryRun": False, "asOf": "2026-01-02T00:00:00.000Z", "more": False}


def result(matched: int, changed: int, remaining: int = 0, **members: Any) -> httpx.Response:
    counts = {"matched": matched, "changed": changed, "remaining": remaining, "rejected": []}
    return httpx.Response(200, json={**RESULT, **counts, **members})


@pytest.fixture
def requests() -> list[httpx.Request]:
    """The requests that ``longhaul`` sent."""
    return []


@pytest.fixture
def longhaul(monkeypatch: pytest.MonkeyPatch, requests: list[httpx.Request]) -> Run:
    """Run the command with the responses of each "METHOD path", one after the other."""

    def run(
        *arguments: str, responses: dict[str, list[httpx.Response]], answer: str = ""
    ) -> Result:
        left: dict[str, Iterator[httpx.Response]] = {
            name: iter(each) for name, each in responses.items()
        }

        def handle(request: httpx.Request) -> httpx.Response:
            requests.append(request)
            return next(left[f"{request.method} {request.url.path}"])

        def connect(url: str, **options: str | None) -> Longhaul:
            transport = httpx.MockTransport(handle)
            return Longhaul(url, clock=FakeClock(), transport=transport, **options)

        monkeypatch.setattr(cli, "Longhaul", connect)
        return CliRunner().invoke(cli.main, arguments, prog_name="longhaul", input=answer)

    return run


def bodies(requests: list[httpx.Request]) -> list[dict[str, Any]]:
    return [json.loads(request.content) for request in requests]


def test_jobs_of_all_users_are_filtered_and_paged(
    longhaul: Run, requests: list[httpx.Request]
) -> None:
    pages = [
        httpx.Response(200, json={"jobs": [LISTED], "nextCursor": "next"}),
        httpx.Response(200, json={"jobs": [LISTED], "nextCursor": None}),
    ]
    found = longhaul(
        *("jobs", "--all", "--owner", "ada", "--status", "failed", "--from", "2026-01-01"),
        *("--error-code", "FILE_NOT_FOUND", "--id", "0a"),
        responses={"GET /v1/admin/jobs": pages},
    )
    assert (found.exit_code, found.stdout.count(JOB_ID)) == (0, 2)
    assert "failed      40%  ada  FILE_NOT_FOUND" in found.stdout
    query = dict(requests[0].url.params)
    assert query == {
        **{"user": "ada", "status": "failed", "errorCode": "FILE_NOT_FOUND", "q": "0a"},
        **{"from": "2026-01-01T00:00:00+00:00", "limit": "20"},
    }
    assert requests[1].url.params["cursor"] == "next"


def test_options_that_choose_among_all_jobs_require_all(longhaul: Run) -> None:
    found = longhaul("jobs", "--owner", "ada", responses={})
    assert (found.exit_code, "require --all" in found.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "call", "prefix"),
    [
        (("jobs", "--all"), "GET /v1/admin/jobs", ""),
        (("act", "cancel"), ACTIONS, "filter."),
    ],
)
def test_a_rejected_filter_names_the_options(
    longhaul: Run, arguments: tuple[str, ...], call: str, prefix: str
) -> None:
    errors = {f"{prefix}q": ["Must be a job ID or its beginning."], f"{prefix}other": ["No."]}
    problem = {"code": "VALIDATION_ERROR", "detail": "Some fields are invalid.", "errors": errors}
    rejected = longhaul(
        *arguments, "--id", "xyz", responses={call: [httpx.Response(400, json=problem)]}
    )
    assert rejected.exit_code == 3
    assert "--id: Must be a job ID or its beginning." in rejected.stderr
    assert f"{prefix}other: No." in rejected.stderr


def test_inspect_prints_the_timeline(longhaul: Run) -> None:
    entry = dict.fromkeys(("version", "attempt", "worker", "errorCode", "error", "detail"))
    at = "2026-01-01T00:00:00.000Z"
    story = {
        "job": {
            **{"jobId": JOB_ID, "status": "failed", "progress": 40, "priority": "high"},
            **{"attempt": 1, "maxAttempts": 4, "error": "Gone", "errorCode": "FILE_NOT_FOUND"},
        },
        **{"user": "ada", "worker": "w1", "traceId": None, "actions": ["retry"]},
        "timeline": [
            {
                **entry,
                "at": at,
                "kind": "state",
                "text": "processing",
                "attempt": 1,
                "worker": "w1",
            },
            {**entry, "at": at, "kind": "webhook", "text": "delivered", "detail": "200"},
        ],
    }
    path = f"GET /v1/admin/jobs/{JOB_ID}"
    shown = longhaul("inspect", JOB_ID, responses={path: [httpx.Response(200, json=story)]})
    assert shown.exit_code == 0
    assert "error     Gone (FILE_NOT_FOUND)" in shown.stdout
    assert f"{at}  processing  attempt 1, on w1" in shown.stdout
    assert f"{at}  webhook: delivered  200" in shown.stdout
    as_json = longhaul(
        "--json", "inspect", JOB_ID, responses={path: [httpx.Response(200, json=story)]}
    )
    assert json.loads(as_json.stdout) == story


def test_an_action_is_previewed_confirmed_and_repeated_while_jobs_remain(
    longhaul: Run, requests: list[httpx.Request]
) -> None:
    responses = {ACTIONS: [result(3, 0, 3), result(3, 2, 1), result(1, 1)]}
    done = longhaul("act", "cancel", "--owner", "ada", responses=responses, answer="y\n")
    assert (done.exit_code, done.stdout) == (0, "3 jobs changed.\n")
    assert "cancel 3 jobs?" in done.stderr
    changed = {"action": "cancel", "filter": {"user": "ada", "to": RESULT["asOf"]}}
    assert bodies(requests) == [
        {"action": "cancel", "filter": {"user": "ada"}, "dryRun": True},
        changed,
        changed,
    ]


def test_an_action_that_is_not_confirmed_changes_nothing(
    longhaul: Run, requests: list[httpx.Request]
) -> None:
    done = longhaul("act", "cancel", "--all", responses={ACTIONS: [result(3, 0, 3)]}, answer="n\n")
    assert done.exit_code == 1
    assert [body.get("dryRun") for body in bodies(requests)] == [True]


def test_a_dry_run_prints_the_number_of_jobs(longhaul: Run) -> None:
    responses = {ACTIONS: [result(10_000, 0, 10_000, more=True)]}
    done = longhaul("act", "retry", "--status", "failed", "--dry-run", responses=responses)
    assert (done.exit_code, done.stdout) == (0, "more than 10000 jobs match.\n")


def test_named_jobs_are_prioritized(longhaul: Run, requests: list[httpx.Request]) -> None:
    rejected = [{"jobId": JOB_ID, "errorCode": "JOB_CONFLICT", "error": "It runs."}]
    responses = {ACTIONS: [result(1, 0, 1), result(1, 0, rejected=rejected)]}
    done = longhaul(
        *("act", "prioritize", JOB_ID, "--new-priority", "high", "--yes"), responses=responses
    )
    assert (done.exit_code, done.stdout) == (0, "0 jobs changed.\n")
    assert "It runs. (JOB_CONFLICT)" in done.stderr
    expected = {"action": "prioritize", "priority": "high", "jobIds": [JOB_ID]}
    assert bodies(requests) == [{**expected, "dryRun": True}, expected]


def test_each_named_job_is_tried_once(longhaul: Run, requests: list[httpx.Request]) -> None:
    job_ids = [f"{JOB_ID[:-1]}{number}" for number in range(3)]
    responses = {ACTIONS: [result(3, 0, 3), result(3, 1, 2), result(2, 0, 1), result(1, 1)]}
    done = longhaul("act", "cancel", *job_ids, "--yes", responses=responses)
    assert (done.exit_code, done.stdout) == (0, "2 jobs changed.\n")
    assert [body["jobIds"] for body in bodies(requests)[1:]] == [job_ids, job_ids[1:], job_ids[2:]]


@pytest.mark.parametrize(
    "arguments",
    [
        ("act", "cancel"),
        ("act", "cancel", JOB_ID, "--all"),
        ("act", "cancel", JOB_ID, "--owner", "ada"),
        ("act", "prioritize", JOB_ID),
        ("act", "cancel", JOB_ID, "--new-priority", "low"),
        ("act", "explode", JOB_ID),
    ],
)
def test_incomplete_actions_are_usage_errors(longhaul: Run, arguments: tuple[str, ...]) -> None:
    assert longhaul(*arguments, responses={}).exit_code == 2


def test_audit_lists_actions_and_who_did_them(longhaul: Run) -> None:
    entry = {"at": "2026-01-01T00:00:00.000Z", "action": "cancel", "changed": 3, "operator": None}
    page = {"entries": [entry, {**entry, "operator": "eve"}], "nextCursor": None}
    listed = longhaul("audit", responses={"GET /v1/admin/audit": [httpx.Response(200, json=page)]})
    assert listed.exit_code == 0
    first, second = listed.stdout.splitlines()
    assert first.endswith("3 jobs  ADMIN_TOKEN")
    assert second.endswith("3 jobs  eve")
