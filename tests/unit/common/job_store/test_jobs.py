"""The scripts of the job store, one by one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from redis import Redis
from redis.client import Pipeline

from common.errors import (
    IdempotencyKeyReused,
    JobConflict,
    JobNotFound,
    LeaseLost,
    TooManyActiveJobs,
)
from common.job_store import keys
from common.job_store.jobs import OPERATOR, Claim, JobStore, Limits, Requester
from common.job_store.queries import JobQueries
from common.job_store.records import progress_fields
from common.job_store.sweeper import Sweeper
from common.jobs import events
from common.jobs.model import (
    Artifact,
    Failure,
    FileReport,
    Job,
    JobSpec,
    Lease,
    OnMissing,
    Progress,
)
from common.jobs.transitions import JobState
from tests.unit.conftest import RecordedWakeUps

ARCHIVE = Artifact(
    bucket="archives", key="jobs/1/a.zip", name="a.zip", size=10, content_type="application/zip"
)
BROKEN = Failure(code="NETWORK_ERROR", message="The connection broke.", retryable=True)
GONE = Failure(code="FILE_NOT_FOUND", message="No such file.", retryable=False)


def spec(*file_ids: int) -> JobSpec:
    return JobSpec(file_ids=file_ids or (1, 2))


def claimed(jobs: JobStore, job_id: str) -> Claim:
    claim = jobs.claim(job_id, "worker")
    assert claim is not None
    return claim


def test_create_accepts_a_queued_job_and_sends_one_wake_up(
    jobs: JobStore, wake_ups: RecordedWakeUps
) -> None:
    accepted = jobs.create("alice", spec())
    assert accepted.outcome == "created"
    assert accepted.job.status is JobState.QUEUED
    assert accepted.job.version == 1
    assert wake_ups.sent == [(accepted.job.id, "normal")]


def test_all_keys_of_a_job_and_its_user_lie_in_one_slot(jobs: JobStore, redis: Redis) -> None:
    job = jobs.create("alice", spec(), idempotency_key="k").job
    jobs.complete(claimed(jobs, job.id).lease, ARCHIVE, Progress())
    names = [str(key) for key in redis.keys("*")]
    tags = {name[name.index("{") : name.index("}") + 1] for name in names}
    assert tags == {keys.tag_of_user("alice")} == {keys.tag_of_job(job.id)}


def test_create_returns_the_running_job_for_an_identical_request(jobs: JobStore) -> None:
    first = jobs.create("alice", spec(1, 2))
    again = [jobs.create("alice", spec(1, 2)) for _ in range(9)]
    assert {accepted.job.id for accepted in again} == {first.job.id}
    assert {accepted.outcome for accepted in again} == {"deduplicated"}


def test_create_does_not_deduplicate_between_users(jobs: JobStore) -> None:
    assert jobs.create("alice", spec()).job.id != jobs.create("bob", spec()).job.id


def test_create_makes_a_new_job_when_the_identical_one_is_finished(jobs: JobStore) -> None:
    first = jobs.create("alice", spec()).job
    jobs.complete(claimed(jobs, first.id).lease, ARCHIVE, Progress())
    assert jobs.create("alice", spec()).outcome == "created"


def test_an_idempotency_key_returns_the_first_job_even_when_it_is_finished(
    jobs: JobStore,
) -> None:
    first = jobs.create("alice", spec(), idempotency_key="k").job
    jobs.cancel(first.id)
    again = jobs.create("alice", spec(), idempotency_key="k")
    assert (again.outcome, again.job.id) == ("replayed", first.id)


def test_create_rejects_an_idempotency_key_with_another_request(jobs: JobStore) -> None:
    jobs.create("alice", spec(1), idempotency_key="k")
    with pytest.raises(IdempotencyKeyReused):
        jobs.create("alice", spec(2), idempotency_key="k")


@pytest.mark.parametrize("other", [1, 2])
def test_an_idempotency_key_never_returns_the_job_of_another_user(
    jobs: JobStore, other: int
) -> None:
    # Both users are in the same partition, and both records have the same name.
    user, key = "user3", "x:order-17"
    other_user, other_key = "user3:x", "order-17"
    first = jobs.create(user, spec(1), idempotency_key=key).job
    second = jobs.create(other_user, spec(other), idempotency_key=other_key)
    assert (second.outcome, second.job.user) == ("created", other_user)
    # Now the record is theirs.
    repeated = jobs.create(other_user, spec(other), idempotency_key=other_key)
    assert (repeated.outcome, repeated.job.id) == ("replayed", second.job.id)
    assert first.id != second.job.id


def test_create_rejects_more_unfinished_jobs_than_a_user_may_have(jobs: JobStore) -> None:
    made = [jobs.create("alice", spec(number)).job for number in range(5)]
    with pytest.raises(TooManyActiveJobs):
        jobs.create("alice", spec(99))
    jobs.cancel(made[0].id)
    assert jobs.create("alice", spec(99)).outcome == "created"


def test_claim_returns_a_lease_with_an_increasing_fencing_token(jobs: JobStore) -> None:
    job = jobs.create("alice", spec()).job
    first = claimed(jobs, job.id)
    jobs.return_to_queue(first.lease)
    second = claimed(jobs, job.id)
    assert second.lease.fencing_token > first.lease.fencing_token
    assert second.spec == spec()
    assert isinstance(second.spec.on_missing, OnMissing)


def test_claim_rejects_a_job_whose_lease_is_live(jobs: JobStore) -> None:
    job = jobs.create("alice", spec()).job
    claimed(jobs, job.id)
    assert jobs.claim(job.id, "other") is None


def test_claim_rejects_a_retry_that_is_not_due(jobs: JobStore) -> None:
    job = jobs.create("alice", spec()).job
    jobs.retry_later(claimed(jobs, job.id).lease, BROKEN, delay=60)
    assert jobs.claim(job.id, "worker") is None


def test_heartbeat_stores_progress_and_file_reports(jobs: JobStore, queries: JobQueries) -> None:
    job = jobs.create("alice", spec(1, 2)).job
    lease = claimed(jobs, job.id).lease
    fields = progress_fields(
        Progress(processed_files=1, total_bytes=10, processed_bytes=4), percent=40
    )
    report = FileReport(file_id=1, state="done", size=4, name="a.txt")
    assert jobs.heartbeat(lease, fields, [report]) == "CONTINUE"
    now = queries.get(job.id)
    assert (now.version, now.progress, now.processed_bytes) == (3, 40, 4)
    assert queries.files(job.id, [1, 2]) == [report, FileReport(file_id=2, state="pending")]


def test_heartbeat_without_progress_keeps_the_version(jobs: JobStore, queries: JobQueries) -> None:
    job = jobs.create("alice", spec()).job
    assert jobs.heartbeat(claimed(jobs, job.id).lease, {}) == "CONTINUE"
    assert queries.get(job.id).version == 2


def test_writes_with_an_old_fencing_token_are_rejected(jobs: JobStore) -> None:
    job = jobs.create("alice", spec()).job
    zombie = claimed(jobs, job.id).lease
    jobs.return_to_queue(zombie)
    claimed(jobs, job.id)
    assert jobs.heartbeat(zombie, {"progress": 99}) == "LOST"
    with pytest.raises(LeaseLost):
        jobs.complete(zombie, ARCHIVE, Progress())
    with pytest.raises(LeaseLost):
        jobs.fail(zombie, GONE)
    with pytest.raises(LeaseLost):
        jobs.retry_later(zombie, BROKEN, delay=0)


def test_complete_frees_the_users_slot_and_sets_the_archives_expiry(
    jobs: JobStore, redis: Redis
) -> None:
    job = jobs.create("alice", spec()).job
    done = jobs.complete(claimed(jobs, job.id).lease, ARCHIVE, Progress(processed_files=2))
    assert (done.status, done.progress, done.artifact) == (JobState.COMPLETED, 100, ARCHIVE)
    assert done.expires_at is not None
    assert done.completed_at is not None
    assert done.expires_at - done.completed_at == 86_400_000
    assert redis.hlen(keys.user_active("alice")) == 0
    assert 86_400 < redis.ttl(keys.status(job.id)) <= 2 * 86_400


def test_finish_is_idempotent(jobs: JobStore) -> None:
    job = jobs.create("alice", spec()).job
    lease = claimed(jobs, job.id).lease
    done = jobs.complete(lease, ARCHIVE, Progress())
    assert jobs.complete(lease, ARCHIVE, Progress()).version == done.version


def test_a_retry_waits_for_its_backoff_and_counts_as_an_attempt(
    jobs: JobStore, sweeper: Sweeper, wake_ups: RecordedWakeUps
) -> None:
    job = jobs.create("alice", spec()).job
    waiting = jobs.retry_later(claimed(jobs, job.id).lease, BROKEN, delay=1.0)
    assert waiting.retry_at is not None
    assert waiting.failure == BROKEN
    assert sweeper.sweep(lambda: None).promoted == 0
    time.sleep(1.01)
    assert sweeper.sweep(lambda: None).promoted == 1
    assert wake_ups.sent == [(job.id, "normal")] * 2
    assert claimed(jobs, job.id).job.attempt == 2


def test_return_to_queue_does_not_count_as_an_attempt(jobs: JobStore) -> None:
    job = jobs.create("alice", spec()).job
    assert jobs.return_to_queue(claimed(jobs, job.id).lease).attempt == 0
    assert claimed(jobs, job.id).job.attempt == 1


def test_only_a_retryable_failure_becomes_a_dead_letter(jobs: JobStore, redis: Redis) -> None:
    broken, gone = jobs.create("alice", spec(1)).job, jobs.create("alice", spec(2)).job
    jobs.fail(claimed(jobs, broken.id).lease, BROKEN)
    jobs.fail(claimed(jobs, gone.id).lease, GONE)
    assert redis.zrange(keys.of_partition("dead_letters", keys.tag_of_user("alice")), 0, -1) == [
        broken.id
    ]


@pytest.mark.parametrize("running", [False, True])
def test_cancel_is_immediate_and_idempotent(jobs: JobStore, running: bool) -> None:
    job = jobs.create("alice", spec()).job
    lease = claimed(jobs, job.id).lease if running else Lease(job_id=job.id, fencing_token=0)
    cancelled = jobs.cancel(job.id)
    assert cancelled.status is JobState.CANCELLED
    assert jobs.cancel(job.id).version == cancelled.version
    assert jobs.heartbeat(lease, {}) == "CANCEL"
    with pytest.raises(LeaseLost):
        jobs.complete(lease, ARCHIVE, Progress())


@pytest.mark.parametrize(
    ("requester", "reason"),
    [
        (Requester(user="alice"), "by its owner"),
        (Requester(user="alice", is_operator=True), "by its owner"),
        (Requester(user="root", is_operator=True), "by an operator"),
        (OPERATOR, "by an operator"),
        (Requester(user="mallory"), "by another user"),
        (Requester(), None),
    ],
)
def test_a_job_records_on_whose_request_it_changed_without_a_name(
    jobs: JobStore, requester: Requester, reason: str | None
) -> None:
    cancelled, failed, completed = (jobs.create("alice", spec(n)).job.id for n in (1, 2, 3))
    assert jobs.cancel(cancelled, by=requester).reason == reason
    jobs.fail(claimed(jobs, failed).lease, BROKEN)
    assert jobs.restart(failed, by=requester).reason == reason
    assert claimed(jobs, failed).job.reason is None
    jobs.complete(claimed(jobs, completed).lease, ARCHIVE, Progress())
    assert jobs.delete_archive(completed, by=requester).reason == reason


def test_a_job_that_is_returned_to_the_queue_says_why_until_it_runs_again(jobs: JobStore) -> None:
    job_id = jobs.create("alice", spec()).job.id
    waiting = jobs.return_to_queue(
        claimed(jobs, job_id).lease, reason="The worker is shutting down."
    )
    assert (waiting.reason, waiting.failure) == ("The worker is shutting down.", None)
    assert claimed(jobs, job_id).job.reason is None


def test_a_job_is_postponed_since_its_first_return_to_the_queue_because_of_a_dependency(
    jobs: JobStore,
) -> None:
    job_id = jobs.create("alice", spec()).job.id
    first = jobs.return_to_queue(claimed(jobs, job_id).lease, postponed=True)
    assert first.postponed_since == first.updated_at
    again = claimed(jobs, job_id)
    assert again.job.postponed_since == first.updated_at
    second = jobs.return_to_queue(again.lease, postponed=True)
    assert second.postponed_since == first.updated_at


def test_progress_ends_a_postponement(jobs: JobStore, queries: JobQueries) -> None:
    job_id = jobs.create("alice", spec()).job.id
    lease = claimed(jobs, job_id).lease
    jobs.heartbeat(lease, progress_fields(Progress(processed_bytes=500), percent=50))
    jobs.return_to_queue(lease, postponed=True)
    lease = claimed(jobs, job_id).lease
    jobs.heartbeat(lease, progress_fields(Progress(processed_bytes=500), percent=50))
    assert queries.get(job_id).postponed_since is not None
    jobs.heartbeat(lease, progress_fields(Progress(processed_bytes=501), percent=50))
    assert queries.get(job_id).postponed_since is None


@pytest.mark.parametrize(
    "end",
    [
        lambda jobs, lease: jobs.return_to_queue(lease),
        lambda jobs, lease: jobs.retry_later(lease, BROKEN, delay=0),
        lambda jobs, lease: jobs.restart(jobs.fail(lease, BROKEN).id),
    ],
    ids=["returned", "failed", "restarted"],
)
def test_an_attempt_that_ends_in_another_way_ends_a_postponement(
    jobs: JobStore, end: Callable[[JobStore, Lease], Job]
) -> None:
    job_id = jobs.create("alice", spec()).job.id
    jobs.return_to_queue(claimed(jobs, job_id).lease, postponed=True)
    assert end(jobs, claimed(jobs, job_id).lease).postponed_since is None


def test_cancel_rejects_finished_and_unknown_jobs(
    jobs: JobStore,
) -> None:
    job = jobs.create("alice", spec()).job
    jobs.complete(claimed(jobs, job.id).lease, ARCHIVE, Progress())
    with pytest.raises(JobConflict):
        jobs.cancel(job.id)
    with pytest.raises(JobNotFound):
        jobs.cancel(keys.new_job_id("alice"))


def test_restart_gives_a_failed_job_all_its_attempts_again(
    jobs: JobStore, queries: JobQueries, redis: Redis
) -> None:
    job = jobs.create("alice", spec()).job
    report = FileReport(file_id=1, state="failed", error_code="NETWORK_ERROR", error="It broke")
    jobs.fail(claimed(jobs, job.id).lease, BROKEN, [report])
    assert queries.files(job.id, [1]) == [report]
    again = jobs.restart(job.id)
    assert queries.files(job.id, [1]) == [FileReport(file_id=1, state="pending")]
    assert (again.status, again.attempt, again.failure) == (JobState.QUEUED, 0, None)
    assert redis.ttl(keys.status(job.id)) == -1
    assert redis.zcard(keys.of_partition("dead_letters", keys.tag_of_user("alice"))) == 0
    assert claimed(jobs, job.id).job.attempt == 1


def test_restart_rejects_a_job_with_a_complete_archive(jobs: JobStore) -> None:
    job = jobs.create("alice", spec()).job
    jobs.complete(claimed(jobs, job.id).lease, ARCHIVE, Progress())
    with pytest.raises(JobConflict):
        jobs.restart(job.id)


def test_a_users_jobs_are_listed_newest_first_page_by_page(
    jobs: JobStore, queries: JobQueries
) -> None:
    made = [jobs.create("alice", spec(number)).job for number in range(5)]
    jobs.create("bob", spec())
    expected = [job.id for job in sorted(made, key=lambda j: (j.created_at, j.id), reverse=True)]
    found, end = queries.page("alice", before=None, limit=2, status=None)
    assert end == (found[-1].created_at, found[-1].id)
    rest, no_more = queries.page("alice", before=end, limit=3, status=None)
    assert [job.id for job in found + rest] == expected
    assert no_more is None


def test_jobs_of_the_same_millisecond_are_paged_by_their_ids(
    jobs: JobStore, queries: JobQueries, redis: Redis
) -> None:
    ids = [jobs.create("alice", spec(number)).job.id for number in range(5)]
    for job_id in ids:
        redis.hset(keys.status(job_id), "created_at", "1790000000123")
        redis.zadd(keys.user_jobs("alice"), {job_id: 1_790_000_000_123})
    found: list[str] = []
    end = None
    while not found or end is not None:
        page, end = queries.page("alice", before=end, limit=2, status=None)
        found += [job.id for job in page]
    assert found == sorted(ids, reverse=True)


@pytest.mark.parametrize("same_millisecond", [True, False])
def test_a_page_reads_a_limited_number_of_jobs_and_the_next_one_continues_there(
    jobs: JobStore,
    queries: JobQueries,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    same_millisecond: bool,
) -> None:
    monkeypatch.setattr("common.job_store.queries.MAX_READ", 4)
    wanted = jobs.create("alice", spec(0)).job.id
    jobs.cancel(wanted)
    others = []
    for number in range(1, 14):
        others.append(jobs.create("alice", spec(number)).job.id)
        jobs.complete(claimed(jobs, others[-1]).lease, ARCHIVE, Progress())
    for number, job_id in enumerate([wanted, *others]):
        created_at = 1_790_000_000_123 + (0 if same_millisecond else number)
        redis.hset(keys.status(job_id), "created_at", created_at)
        redis.zadd(keys.user_jobs("alice"), {job_id: created_at})
    pages, end = 0, None
    found: list[str] = []
    while pages == 0 or end is not None:
        page, end = queries.page("alice", before=end, limit=1, status=JobState.CANCELLED)
        found += [job.id for job in page]
        pages += 1
    assert found == [wanted]
    # 14 jobs, 4 for each page; the page that has found its job may stop earlier.
    assert pages in (4, 5)


def test_listing_jobs_in_one_state_costs_the_same_however_many_jobs_a_user_has(
    jobs: JobStore, queries: JobQueries, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = jobs.create("alice", spec(0)).job.id
    jobs.cancel(wanted)
    for number in range(1, 60):
        job = jobs.create("alice", spec(number)).job
        claim = claimed(jobs, job.id)
        jobs.complete(claim.lease, ARCHIVE, Progress())
        if number % 2:
            redis.delete(keys.status(job.id))
    queries.page("alice", before=None, limit=1, status=None)
    commands: list[str] = []
    run, run_pipeline = redis.execute_command, Pipeline.execute_command

    def count(*args: Any, **options: Any) -> Any:
        commands.append(args[0])
        return run(*args, **options)

    def count_queued(pipe: Any, *args: Any, **options: Any) -> Any:
        commands.append(args[0])
        return run_pipeline(pipe, *args, **options)

    monkeypatch.setattr(redis, "execute_command", count)
    monkeypatch.setattr(Pipeline, "execute_command", count_queued)
    (found,), end = queries.page("alice", before=None, limit=1, status=JobState.CANCELLED)
    assert (found.id, end) == (wanted, None)
    assert len(commands) == 2
    commands.clear()
    assert queries.page("alice", before=None, limit=1, status=JobState.FAILED) == ([], None)
    assert len(commands) == 1


def test_every_event_is_a_complete_snapshot_and_versions_have_no_gaps(
    jobs: JobStore, redis: Redis
) -> None:
    job_id = jobs.create("alice", spec()).job.id
    pubsub = redis.pubsub()
    pubsub.subscribe(keys.events(job_id))
    lease = claimed(jobs, job_id).lease
    jobs.heartbeat(lease, {"progress": 50})
    jobs.complete(lease, ARCHIVE, Progress())
    messages = list(iter(lambda: pubsub.get_message(timeout=0), None))
    versions = [events.decode(m["data"]).version for m in messages if m["type"] == "message"]
    pubsub.close()
    assert versions == [2, 3, 4]


def test_progress_does_not_go_back_when_an_attempt_is_returned_to_the_queue(
    jobs: JobStore, queries: JobQueries
) -> None:
    job = jobs.create("alice", JobSpec(file_ids=(1, 2, 3))).job
    first = claimed(jobs, job.id)
    done = Progress(processed_files=2, total_bytes=1000, processed_bytes=600)
    jobs.heartbeat(first.lease, progress_fields(done, percent=60))
    jobs.return_to_queue(first.lease)
    second = claimed(jobs, job.id)
    for counted in (Progress(), Progress(processed_files=1, processed_bytes=200)):
        jobs.heartbeat(second.lease, progress_fields(counted, percent=20))
        now = queries.get(job.id)
        assert (now.attempt, now.progress, now.processed_files) == (1, 60, 2)
        assert (now.processed_bytes, now.total_bytes) == (600, 1000)
    more = Progress(processed_files=3, total_bytes=1000, processed_bytes=900)
    jobs.heartbeat(second.lease, progress_fields(more, percent=90))
    now = queries.get(job.id)
    assert (now.progress, now.processed_files, now.processed_bytes) == (90, 3, 900)


def test_every_change_returns_and_publishes_what_the_store_keeps(
    jobs: JobStore, queries: JobQueries, redis: Redis
) -> None:
    published = redis.pubsub()
    published.psubscribe("job:events:*")
    assert published.get_message(timeout=5)["type"] == "psubscribe"
    job = jobs.create("alice", JobSpec(file_ids=(1,))).job
    changes: list[Callable[[Lease], object]] = [
        lambda lease: jobs.heartbeat(lease, {"progress": 40, "processed_bytes": 7}),
        lambda lease: jobs.return_to_queue(lease, reason="the worker stops"),
        lambda lease: jobs.retry_later(lease, BROKEN, 0.0),
        lambda lease: jobs.complete(lease, ARCHIVE, Progress()),
    ]
    for change in changes:
        claim = claimed(jobs, job.id)
        assert claim.job == queries.get(job.id)
        changed = change(claim.lease)
        assert changed in (queries.get(job.id), "CONTINUE")
        if changed == "CONTINUE":
            jobs.return_to_queue(claim.lease)
    assert jobs.delete_archive(job.id) == queries.get(job.id)
    messages = iter(lambda: published.get_message(timeout=0), None)
    snapshots = [events.decode(message["data"]) for message in messages]
    assert [each.version for each in snapshots] == list(range(2, 1 + len(snapshots) + 1))
    assert snapshots[-1] == queries.get(job.id)


def test_a_restarted_job_starts_again(jobs: JobStore) -> None:
    job = jobs.create("alice", JobSpec(file_ids=(1,))).job
    claim = jobs.claim(job.id, "worker")
    assert claim is not None
    jobs.fail(claim.lease, Failure(code="NETWORK_ERROR", message="m", retryable=True))
    assert job.requested_at == job.created_at
    restarted = jobs.restart(job.id)
    assert restarted.started_at is None
    # Waits and durations count from then.
    assert restarted.requested_at == restarted.updated_at >= job.created_at
    assert restarted.created_at == job.created_at


def test_members_of_a_newer_release_are_ignored(
    jobs: JobStore, queries: JobQueries, redis: Redis
) -> None:
    job = jobs.create("alice", JobSpec(file_ids=(1,))).job
    stored = orjson.loads(str(redis.get(keys.spec(job.id))))
    redis.set(keys.spec(job.id), orjson.dumps({**stored, "compression": "zstd"}))
    redis.hset(keys.status(job.id), mapping={"region": "moon", "priority": "urgent"})
    redis.hset(keys.files(job.id), "1", '{"file_id": 1, "state": "done", "color": "red"}')
    claim = jobs.claim(job.id, "worker")
    assert claim
    assert claim.spec == JobSpec(file_ids=(1,))
    assert queries.files(job.id, (1,))[0].state == "done"
    redis.hset(
        keys.status(job.id),
        mapping={
            "status": "paused",
            "artifact": '{"bucket": "b", "key": "k", "name": "n", "size": 1, "content_type": "t",'
            ' "tier": "cold"}',
        },
    )
    found = queries.get(job.id)
    assert found.artifact
    assert found.artifact.key == "k"


def test_a_job_whose_request_only_a_newer_release_understands_is_returned_for_free(
    jobs: JobStore, queries: JobQueries, redis: Redis
) -> None:
    job = jobs.create("alice", JobSpec(file_ids=(1,))).job
    stored = orjson.loads(str(redis.get(keys.spec(job.id))))
    redis.set(keys.spec(job.id), orjson.dumps({**stored, "on_missing": "ask"}))
    assert jobs.claim(job.id, "worker") is None
    found = queries.get(job.id)
    assert (found.status, found.attempt) == (JobState.QUEUED, 0)
    assert found.retry_at is not None
    assert redis.llen(keys.attempts(job.id)) == 0


def test_a_job_with_an_idempotency_key_outlives_a_short_job_ttl(
    redis: Redis, wake_ups: RecordedWakeUps
) -> None:
    jobs = JobStore(redis, wake_ups, Limits(job_ttl=60))
    with_key = jobs.create("alice", spec(1), idempotency_key="key").job
    without = jobs.create("alice", spec(2)).job
    for job in (with_key, without):
        jobs.cancel(job.id)
    assert 86_000 < redis.ttl(keys.status(with_key.id)) <= 86_400
    assert redis.ttl(keys.status(without.id)) <= 60
    repeated = jobs.create("alice", spec(1), idempotency_key="key")
    assert (repeated.outcome, repeated.job.id) == ("replayed", with_key.id)


@pytest.mark.parametrize("first_key", [None, "first key"])
def test_a_job_is_kept_for_the_idempotency_key_of_a_later_identical_request(
    redis: Redis, wake_ups: RecordedWakeUps, first_key: str | None
) -> None:
    jobs = JobStore(redis, wake_ups, Limits(job_ttl=60))
    job = jobs.create("alice", spec(), idempotency_key=first_key).job
    redis.hset(keys.status(job.id), "created_at", job.created_at - 80_000_000)
    assert jobs.create("alice", spec(), idempotency_key="key").outcome == "deduplicated"
    jobs.cancel(job.id)
    assert 86_000 < redis.ttl(keys.status(job.id)) <= 86_400


def test_a_claim_that_a_fail_over_forgot_does_not_share_its_fencing_token(
    jobs: JobStore, redis: Redis
) -> None:
    job_id = jobs.create("alice", JobSpec(file_ids=(1,))).job.id
    before = {key: redis.dump(key) for key in redis.scan_iter()}
    forgotten = jobs.claim(job_id, "first worker")
    assert forgotten is not None
    redis.flushall()
    for key, value in before.items():
        redis.restore(key, 0, value)  # type: ignore[arg-type]
    time.sleep(0.002)  # Tokens follow the clock, which has milliseconds.
    claim = jobs.claim(job_id, "second worker")
    assert claim is not None
    assert claim.lease.fencing_token > forgotten.lease.fencing_token
    assert jobs.heartbeat(forgotten.lease, {}) == "LOST"
    assert jobs.heartbeat(claim.lease, {}) == "CONTINUE"
