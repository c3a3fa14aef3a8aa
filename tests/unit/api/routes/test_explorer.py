"""Operators search the jobs of all users and act on them, without a history."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from api.admin import job_explorer, operator_actions
from common.job_store import keys
from common.job_store import search as search_module
from common.job_store.audit_log import MAX_NAMED_JOBS, AuditEntry, AuditLog
from common.job_store.jobs import JobStore
from common.jobs.model import Failure, FileReport
from tests.unit.api.conftest import OPERATOR, Worker
from tests.unit.conftest import RecordedWakeUps

BROKEN = Failure(code="NETWORK_ERROR", message="The connection was reset", retryable=True)
UNKNOWN = "00000000-0000-4000-8000-000000000000"

Create = Callable[..., str]


@pytest.fixture
def create(post: Callable[..., Any]) -> Create:
    """Return a function that creates jobs at different times."""

    def make(user: str = "ada", **body: Any) -> str:
        time.sleep(0.002)
        body.setdefault("file_ids", [make.number])  # type: ignore[attr-defined]
        make.number += 1  # type: ignore[attr-defined]
        response = post(headers={"X-User-Id": user}, **body)
        assert response.status_code == 202, response.json
        return str(response.json["jobId"])

    make.number = 1  # type: ignore[attr-defined]
    return make


@pytest.fixture
def search(client: FlaskClient) -> Callable[..., list[str]]:
    def find(**query: Any) -> list[str]:
        response = client.get("/v1/admin/jobs", query_string=query, headers=OPERATOR)
        assert response.status_code == 200, response.json
        return [job["jobId"] for job in response.json["jobs"]]

    return find


@pytest.fixture
def act(client: FlaskClient) -> Callable[..., Any]:
    def send(action: str, **body: Any) -> Any:
        response = client.post(
            "/v1/admin/job-actions", json={"action": action, **body}, headers=OPERATOR
        )
        assert response.status_code == 200, response.json
        return response.json

    return send


def audit_log(client: FlaskClient, **query: Any) -> Any:
    response = client.get("/v1/admin/audit", query_string=query, headers=OPERATOR)
    assert response.status_code == 200
    return response.json


def test_jobs_of_all_users_and_states_are_listed_newest_first(
    client: FlaskClient, create: Create, worker: Worker, search: Callable[..., list[str]]
) -> None:
    jobs = [create(f"user-{number}") for number in range(8)]
    worker.claim(jobs[1])
    worker.complete(jobs[2])
    worker.fail(jobs[3])
    assert search() == jobs[::-1]
    response = client.get("/v1/admin/jobs", headers=OPERATOR).json
    assert (response["history"], response["partial"], response["nextCursor"]) == (
        "off",
        False,
        None,
    )
    newest, failed = response["jobs"][0], response["jobs"][4]
    assert (newest["userId"], newest["status"], newest["worker"]) == ("user-7", "queued", None)
    assert (failed["jobId"], failed["errorCode"]) == (jobs[3], "FILE_NOT_FOUND")
    assert response["jobs"][5]["fileSize"] == 1234
    assert not any("downloadUrl" in job for job in response["jobs"])


def test_each_condition_filters_jobs(
    create: Create, worker: Worker, search: Callable[..., list[str]]
) -> None:
    first = create("ada")
    high = create("ada", priority="high")
    failed = create("bob")
    worker.fail(failed)
    running = create("bob")
    worker.claim(running)
    assert search(user="ada") == [high, first]
    assert search(user="bob", status="failed") == [failed]
    assert search(status="queued") == [high, first]
    assert search(status="processing") == [running]
    assert search(errorCode="FILE_NOT_FOUND") == [failed]
    assert search(priority="high") == [high]
    assert search(priority="high", user="bob") == []
    for length in (1, 8, 9, 13, 14, 24, 30, 36):
        assert first in search(q=first[:length].upper())
    assert search(q=first) == [first]
    assert search(q=UNKNOWN) == []


def test_a_job_that_is_in_no_list_is_found_by_its_id(
    client: FlaskClient, create: Create, search: Callable[..., list[str]]
) -> None:
    job_id = create("ada")
    client.delete(f"/v1/download/{job_id}")
    assert search() == []
    assert search(q=job_id) == [job_id]
    assert search(q=job_id, status="queued") == []
    assert search(user="ada") == [job_id]


def test_times_are_half_open(
    client: FlaskClient, create: Create, search: Callable[..., list[str]]
) -> None:
    first, second = create(), create()
    (_, created_at) = (
        client.get(f"/v1/download/status/{job_id}").json["createdAt"] for job_id in (first, second)
    )
    assert search(**{"from": created_at}) == [second]
    assert search(to=created_at) == [first]


def test_pages_have_no_gaps_and_no_duplicates(client: FlaskClient, create: Create) -> None:
    jobs = [create(f"user-{number}") for number in range(23)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 5}
    while True:
        page = client.get("/v1/admin/jobs", query_string=query, headers=OPERATOR).json
        seen += [job["jobId"] for job in page["jobs"]]
        if page["nextCursor"] is None:
            break
        assert len(page["jobs"]) == 5
        query["cursor"] = page["nextCursor"]
    assert seen == jobs[::-1]


def test_a_search_reads_a_limited_number_of_jobs_and_says_so(
    client: FlaskClient, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        create("ada")
    monkeypatch.setattr(search_module, "MAX_READ", 3)
    response = client.get("/v1/admin/jobs", headers=OPERATOR).json
    assert (len(response["jobs"]), response["partial"]) == (3, True)
    monkeypatch.setattr(search_module, "MAX_READ", 4)
    assert client.get("/v1/admin/jobs", headers=OPERATOR).json["partial"] is False


@pytest.mark.parametrize(
    "query",
    [
        {"q": "xyz"},
        {"q": "12-"},
        {"q": "12345678-12345"},
        {"q": "1\n"},
        {"user": "a b"},
        {"user": "a\0"},
        {"errorCode": "a"},
        {"status": "sad"},
        {"priority": "urgent"},
        {"from": "yesterday"},
        {"to": "0001-01-01T00:00:00+14:00"},
        {"limit": 0},
        {"cursor": "x"},
    ],
)
def test_invalid_conditions_are_rejected(client: FlaskClient, query: dict[str, Any]) -> None:
    response = client.get("/v1/admin/jobs", query_string=query, headers=OPERATOR)
    assert (response.status_code, response.json["code"]) == (400, "VALIDATION_ERROR")
    assert set(response.json["errors"]) == set(query)


@pytest.mark.parametrize("within_a_millisecond", [False, True])
def test_a_job_has_a_timeline(
    client: FlaskClient, create: Create, worker: Worker, jobs: JobStore, redis: Redis,
    *, within_a_millisecond: bool,
) -> None:  # fmt: skip
    job_id = create("ada")
    first = worker.claim(job_id)
    jobs.retry_later(first, BROKEN, 0)
    worker.complete(job_id)
    if within_a_millisecond:
        (attempt,) = map(orjson.loads, redis.lrange(keys.attempts(job_id), 0, -1))
        redis.hset(keys.status(job_id), "completed_at", attempt["endedAt"])
    response = client.get(f"/v1/admin/jobs/{job_id}", headers=OPERATOR).json
    assert (response["user"], response["history"], response["worker"]) == ("ada", "off", "worker-1")
    # Without a history, only the start of the first attempt is known.
    assert [entry["text"] for entry in response["timeline"]] == [
        *("queued", "processing", "queued", "completed")
    ]
    retry = response["timeline"][-2]
    assert (retry["attempt"], retry["errorCode"], retry["error"]) == (
        1,
        "NETWORK_ERROR",
        BROKEN.message,
    )
    assert [attempt["outcome"] for attempt in response["attempts"]] == ["queued", "completed"]
    assert [file["file_id"] for file in response["files"]] == [1]
    assert response["actions"] == []
    times = [entry["at"] for entry in response["timeline"]]
    assert times == sorted(times)


def test_a_timeline_shows_links_and_what_operators_did(
    client: FlaskClient, create: Create, worker: Worker, act: Callable[..., Any]
) -> None:
    job_id = create("ada")
    act("prioritize", jobIds=[job_id], priority="high")
    worker.complete(job_id)
    link = client.post(f"/v1/download/{job_id}/links", json={}).json
    client.delete(f"/v1/download/{job_id}/links/{link['linkId']}")
    timeline = client.get(f"/v1/admin/jobs/{job_id}", headers=OPERATOR).json["timeline"]
    shown = {(entry["kind"], entry["text"], entry["detail"]) for entry in timeline}
    assert ("link", "created", link["linkId"]) in shown
    assert ("link", "revoked", link["linkId"]) in shown
    assert ("operator", "prioritize", None) in shown


def test_a_timeline_says_why_a_job_waits_again(
    client: FlaskClient, create: Create, worker: Worker, jobs: JobStore
) -> None:
    job_id = create("ada")
    jobs.return_to_queue(worker.claim(job_id), reason="The worker is shutting down.")
    newest = client.get(f"/v1/admin/jobs/{job_id}", headers=OPERATOR).json["timeline"][-1]
    assert (newest["text"], newest["detail"]) == ("queued", "The worker is shutting down.")


def test_a_timeline_says_who_cancelled_a_job(
    client: FlaskClient, create: Create, act: Callable[..., Any]
) -> None:
    def cancelled(job_id: str) -> str:
        timeline = client.get(f"/v1/admin/jobs/{job_id}", headers=OPERATOR).json["timeline"]
        return next(entry["detail"] for entry in timeline if entry["text"] == "cancelled")

    by_operator, by_token, by_owner, by_other = (create("ada") for _ in range(4))
    act("cancel", jobIds=[by_operator])
    for job_id, headers in (
        (by_token, OPERATOR),
        (by_owner, {"X-User-Id": "ada"}),
        (by_other, {"X-User-Id": "bob"}),
    ):
        client.delete(f"/v1/download/{job_id}", headers=headers)
    assert [cancelled(each) for each in (by_operator, by_token, by_owner, by_other)] == [
        *("by an operator", "by an operator", "by its owner", "by another user")
    ]
    assert [entry["jobIds"] for entry in audit_log(client)["entries"]] == [
        [by_token],
        [by_operator],
    ]


def test_a_file_shows_why_it_failed(
    client: FlaskClient, create: Create, worker: Worker, jobs: JobStore
) -> None:
    job_id = create("ada", file_ids=[7])
    why = {"error_code": "NETWORK_ERROR", "error": "File 7: unavailable (HTTP 500)"}
    jobs.fail(worker.claim(job_id), BROKEN, [FileReport(file_id=7, state="failed", **why)])
    (file,) = client.get(f"/v1/admin/jobs/{job_id}", headers=OPERATOR).json["files"]
    (own,) = client.get(f"/v1/download/status/{job_id}/files").json["files"]
    for shown in (file, own):
        assert (shown["state"], shown["errorCode"]) == ("failed", "NETWORK_ERROR")
        assert shown["error"] == "File 7: unavailable (HTTP 500)"


def test_the_trace_of_the_request_is_shown(client: FlaskClient, post: Callable[..., Any]) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    job_id = post(headers=headers, file_ids=[1]).json["jobId"]
    assert client.get(f"/v1/admin/jobs/{job_id}", headers=OPERATOR).json["traceId"] == trace


def test_an_unknown_job_is_not_found(client: FlaskClient) -> None:
    for job_id in (UNKNOWN, "x"):
        response = client.get(f"/v1/admin/jobs/{job_id}", headers=OPERATOR)
        assert (response.status_code, response.json["code"]) == (404, "JOB_NOT_FOUND")


def test_a_job_shows_the_actions_that_its_state_allows(
    client: FlaskClient, create: Create, worker: Worker, jobs: JobStore
) -> None:
    queued, running, failed, dead = (create(f"user-{number}") for number in range(4))
    worker.claim(running)
    worker.fail(failed)
    jobs.fail(worker.claim(dead), BROKEN)
    allowed = {
        job_id: client.get(f"/v1/admin/jobs/{job_id}", headers=OPERATOR).json["actions"]
        for job_id in (queued, running, failed, dead)
    }
    assert allowed == {
        queued: ["cancel", "prioritize"],
        running: ["cancel"],
        failed: ["retry"],
        dead: ["retry"],
    }


def test_a_dry_run_counts_and_changes_nothing(
    client: FlaskClient, create: Create, act: Callable[..., Any]
) -> None:
    jobs = [create("ada") for _ in range(3)]
    create("bob")
    preview = act("cancel", filter={"user": "ada"}, dryRun=True)
    assert (preview["matched"], preview["changed"], preview["remaining"]) == (3, 0, 3)
    assert preview["more"] is False
    for job_id in jobs:
        assert client.get(f"/v1/download/status/{job_id}").json["status"] == "queued"
    assert audit_log(client)["entries"] == []


def test_jobs_that_a_filter_finds_are_changed(
    client: FlaskClient,
    create: Create,
    act: Callable[..., Any],
    worker: Worker,
    search: Callable[..., list[str]],
) -> None:
    mine = [create("ada") for _ in range(3)]
    other = create("bob")
    worker.complete(mine[0])
    done = act("cancel", filter={"user": "ada"})
    assert (done["matched"], done["changed"], done["remaining"]) == (2, 2, 0)
    assert search(status="queued") == [other]
    (entry,) = audit_log(client)["entries"]
    assert (entry["action"], entry["operator"]) == ("cancel", None)
    assert (entry["matched"], entry["changed"], sorted(entry["jobIds"])) == (2, 2, sorted(mine[1:]))
    assert entry["parameters"] == {"filter": {"user": "ada"}}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", entry["at"])


def test_jobs_that_are_created_after_a_preview_are_not_changed(
    create: Create, act: Callable[..., Any], search: Callable[..., list[str]]
) -> None:
    create("ada")
    as_of = act("cancel", filter={}, dryRun=True)["asOf"]
    later = create("bob")
    assert act("cancel", filter={"to": as_of})["changed"] == 1
    assert search(status="queued") == [later]


def test_failed_jobs_are_retried_beyond_the_limits_of_their_users(
    make_app: Callable[..., Flask], create: Create, worker: Worker
) -> None:
    failed = [create("ada") for _ in range(3)]
    for job_id in failed:
        worker.fail(job_id)
    client = make_app(max_active_jobs=1).test_client()
    response = client.post(
        "/v1/admin/job-actions",
        json={"action": "retry", "filter": {"errorCode": "FILE_NOT_FOUND"}},
        headers=OPERATOR,
    ).json
    assert (response["matched"], response["changed"], response["rejected"]) == (3, 3, [])
    assert client.get(f"/v1/download/status/{failed[0]}").json["status"] == "queued"


def test_only_dead_letters_are_requeued(
    create: Create, worker: Worker, jobs: JobStore, act: Callable[..., Any]
) -> None:
    failed, dead = create("ada"), create("bob")
    worker.fail(failed)
    jobs.fail(worker.claim(dead), BROKEN)
    assert act("requeue", filter={}, dryRun=True)["matched"] == 1
    result = act("requeue", jobIds=[failed, dead])
    assert (result["matched"], result["changed"]) == (2, 1)
    assert [(each["jobId"], each["errorCode"]) for each in result["rejected"]] == [
        (failed, "JOB_NOT_FOUND")
    ]


def test_a_prioritized_job_moves_to_the_other_queue(
    client: FlaskClient, create: Create, act: Callable[..., Any], wake_ups: RecordedWakeUps
) -> None:
    first, second = create("ada"), create("ada")
    wake_ups.wake_ups.clear()
    assert act("prioritize", jobIds=[first], priority="high")["changed"] == 1
    # The user's next job of the old priority gets its wake-up.
    assert sorted(wake_ups.sent) == sorted([(first, "high"), (second, "normal")])
    job = client.get(f"/v1/download/status/{first}").json
    assert (job["priority"], job["version"], job["status"]) == ("high", 2, "queued")
    waiting = client.get("/v1/download/queue/stats").json["waiting"]
    assert waiting == {"high": 1, "normal": 1, "low": 0}
    assert act("prioritize", jobIds=[first], priority="high")["changed"] == 1
    assert client.get(f"/v1/download/status/{first}").json["version"] == 2


def test_a_job_that_waits_for_its_next_attempt_keeps_waiting_with_the_new_priority(
    client: FlaskClient, create: Create, worker: Worker, jobs: JobStore, act: Callable[..., Any]
) -> None:
    job_id = create()
    jobs.retry_later(worker.claim(job_id), BROKEN, 60)
    assert act("prioritize", jobIds=[job_id], priority="low")["changed"] == 1
    statistics = client.get("/v1/download/queue/stats").json
    assert (statistics["totalWaiting"], statistics["retrying"]) == (0, 1)
    assert client.get(f"/v1/download/status/{job_id}").json["priority"] == "low"


def test_a_running_job_cannot_be_prioritized(
    create: Create, worker: Worker, act: Callable[..., Any]
) -> None:
    job_id = create()
    worker.claim(job_id)
    (rejected,) = act("prioritize", jobIds=[job_id], priority="high")["rejected"]
    assert rejected["errorCode"] == "JOB_CONFLICT"


def test_a_request_changes_a_limited_number_of_jobs(
    create: Create, act: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        create("ada")
    monkeypatch.setattr(operator_actions, "MAX_BATCH", 2)
    results = [act("cancel", filter={}) for _ in range(3)]
    assert [result["changed"] for result in results] == [2, 2, 1]
    assert [result["remaining"] for result in results] == [3, 1, 0]
    assert [result["matched"] for result in results] == [5, 3, 1]


def test_a_request_stops_in_time_when_the_job_store_is_slow(
    create: Create, act: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        create("ada")
    monkeypatch.setattr(operator_actions, "MAX_SECONDS", -1)
    result = act("cancel", filter={})
    assert (result["changed"], result["remaining"]) == (1, 1)


def test_named_jobs_are_tried_in_their_order(
    create: Create, act: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    job_ids = [create("ada"), UNKNOWN, create("ada")]
    monkeypatch.setattr(operator_actions, "MAX_SECONDS", -1)
    results = [act("retry", jobIds=job_ids[tried:]) for tried in range(3)]
    rejected = [each["jobId"] for result in results for each in result["rejected"]]
    assert rejected == job_ids
    assert [result["matched"] - result["remaining"] for result in results] == [1, 1, 1]


def test_prioritizing_by_filter_ends_when_all_jobs_have_the_priority(
    create: Create,
    act: Callable[..., Any],
    search: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs = [create("ada", priority=priority) for priority in ("normal", "low", "high", "normal")]
    monkeypatch.setattr(operator_actions, "MAX_BATCH", 2)
    assert act("prioritize", filter={}, priority="high", dryRun=True)["matched"] == 3
    results = [act("prioritize", filter={}, priority="high") for _ in range(3)]
    assert [result["matched"] for result in results] == [3, 1, 0]
    assert [result["remaining"] for result in results] == [1, 0, 0]
    assert search(priority="high") == jobs[::-1]
    assert act("prioritize", filter={"priority": "high"}, priority="high")["matched"] == 0


def test_jobs_that_already_have_the_priority_hide_no_others_from_a_filter(
    create: Create, act: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    create("ada")
    for _ in range(3):
        create("ada", priority="high")
    monkeypatch.setattr(job_explorer, "MAX_COUNTED", 2)
    assert act("prioritize", filter={}, priority="high")["changed"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {"action": "cancel"},
        {"action": "cancel", "jobIds": [UNKNOWN], "filter": {}},
        {"action": "cancel", "jobIds": []},
        {"action": "cancel", "jobIds": ["x"]},
        {"action": "cancel", "filter": {}, "priority": "high"},
        {"action": "cancel", "filter": {"state": "queued"}},
        {"action": "prioritize", "filter": {}},
        {"action": "explode", "filter": {}},
        {"filter": {}},
    ],
)
def test_invalid_actions_are_rejected(client: FlaskClient, body: dict[str, Any]) -> None:
    response = client.post("/v1/admin/job-actions", json=body, headers=OPERATOR)
    assert (response.status_code, response.json["code"]) == (400, "VALIDATION_ERROR")


def test_every_action_of_an_operator_is_in_the_audit_log(
    client: FlaskClient, create: Create, worker: Worker, jobs: JobStore
) -> None:
    job_id = create()
    jobs.fail(worker.claim(job_id), BROKEN)
    client.post(f"/v1/admin/dead-letters/{job_id}/requeue", headers=OPERATOR)
    client.post("/v1/admin/queue/pause", headers={**OPERATOR, "X-Request-ID": "the-pause"})
    client.post("/v1/admin/queue/resume", headers=OPERATOR)
    entries = audit_log(client)["entries"]
    assert [entry["action"] for entry in entries] == ["resume", "pause", "requeue"]
    assert entries[1]["requestId"] == "the-pause"
    assert entries[2]["jobIds"] == [job_id]


def test_the_audit_log_is_paged(client: FlaskClient, redis: Redis) -> None:
    log = AuditLog(redis)
    for number in range(5):
        log.record(AuditEntry(action=f"action-{number}"))
    first = audit_log(client, limit=3)
    second = audit_log(client, limit=3, cursor=first["nextCursor"])
    names = [entry["action"] for entry in first["entries"] + second["entries"]]
    assert names == [f"action-{number}" for number in range(4, -1, -1)]
    assert second["nextCursor"] is None
    bad = client.get("/v1/admin/audit?cursor=MQ", headers=OPERATOR)
    assert bad.status_code == 400


def test_an_entry_names_a_limited_number_of_jobs(redis: Redis) -> None:
    log = AuditLog(redis)
    log.record(AuditEntry(action="cancel", job_ids=[str(number) for number in range(1_000)]))
    ((entry,), _) = log.page(before=None, limit=1)
    assert len(entry.job_ids) == MAX_NAMED_JOBS


def test_entries_of_other_releases_are_readable(redis: Redis) -> None:
    redis.xadd("operators:audit", {"entry": '{"action":"cancel","mood":"good"}'})
    ((entry,), _) = AuditLog(redis).page(before=None, limit=1)
    assert entry.action == "cancel"


def test_an_action_succeeds_although_it_cannot_be_added_to_the_audit_log(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RedisConnectionError("full")

    monkeypatch.setattr(AuditLog, "record", fail)
    assert client.post("/v1/admin/queue/pause", headers=OPERATOR).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/admin/jobs"),
        ("GET", f"/v1/admin/jobs/{UNKNOWN}"),
        ("POST", "/v1/admin/job-actions"),
        ("GET", "/v1/admin/audit"),
        ("GET", "/v1/admin/statistics"),
    ],
)
def test_only_operators_may_call(client: FlaskClient, method: str, path: str) -> None:
    response = client.open(path, method=method, json={"action": "cancel", "filter": {}})
    assert (response.status_code, response.json["code"]) == (403, "FORBIDDEN")
