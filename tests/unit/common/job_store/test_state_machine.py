"""A Hypothesis state machine compares the Lua scripts with the table of transitions."""

from __future__ import annotations

from typing import Any

import fakeredis
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from common.errors import JobConflict, LeaseLost, RunsAlone, TooManyActiveJobs
from common.job_store import keys
from common.job_store.jobs import JobStore, Limits
from common.job_store.queries import JobQueries
from common.job_store.sweeper import Sweeper
from common.jobs import events
from common.jobs.model import PRIORITIES, Artifact, Failure, Job, JobSpec, Lease, Priority, Progress
from common.jobs.transitions import ALLOWED, RESTARTABLE, TERMINAL, JobState
from tests.unit.conftest import RecordedWakeUps

USERS = st.sampled_from(["alice", "bob"])


def busy() -> dict[str, int]:
    return dict.fromkeys(PRIORITIES, 7)


# Some 1,200 steps: half a minute of CPU time, which takes longer beside other tests.
pytestmark = pytest.mark.timeout(600)


class Jobs(RuleBasedStateMachine):
    """Runs every script at any time, with live leases and with old fencing tokens."""

    job_ids = Bundle("job_ids")
    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.redis = fakeredis.FakeRedis(decode_responses=True, server=fakeredis.FakeServer())
        wake_ups = RecordedWakeUps()
        # No lease may expire by itself, however slow the machine is.
        limits = Limits(max_active=4, max_attempts=4, lease=3600)
        self.jobs = JobStore(self.redis, wake_ups, limits)
        self.expired_leases = Sweeper(self.redis, wake_ups, limits, max_wait=300)
        self.queries = JobQueries(self.redis)
        self.seen: dict[str, Job] = {}
        self.restarted: set[str] = set()

    @rule(target=job_ids, user=USERS, number=st.integers(1, 6), priority=st.sampled_from(Priority))
    def create(self, user: str, number: int, priority: Priority) -> str:
        spec = JobSpec(file_ids=(number,), priority=priority)
        try:
            return self.jobs.create(user, spec).job.id
        except TooManyActiveJobs:
            active = [j for j in self.seen.values() if j.user == user and not j.terminal]
            assert len(active) == 4
            return active[0].id

    @rule(target=leases, job_id=job_ids, alone=st.booleans())
    def claim(self, job_id: str, alone: bool) -> Lease:
        before = self.queries.get(job_id)
        waiting = self.redis.zscore(keys.of_partition("retries", keys.tag_of_job(job_id)), job_id)
        runs_alone = int(self.redis.hget(keys.status(job_id), "losses") or 0) > 1
        try:
            claim = self.jobs.claim(job_id, "worker", alone=alone)
        except RunsAlone:
            assert runs_alone
            assert not alone
            claim = None
        else:
            ready = waiting is None or runs_alone
            assert (claim is not None) == (before.status is JobState.QUEUED and ready)
        return claim.lease if claim else Lease(job_id=job_id, fencing_token=before.fencing_token)

    @rule(lease=leases, percent=st.integers(0, 99))
    def heartbeat(self, lease: Lease, percent: int) -> None:
        answer = self.jobs.heartbeat(lease, {"progress": percent})
        assert (answer == "CONTINUE") == self._is_live(lease)

    @rule(lease=leases, how=st.sampled_from(["complete", "partial", "fail", "retry", "return"]))
    def last_word(self, lease: Lease, how: str) -> None:
        live = self._is_live(lease)
        before = self.queries.get(lease.job_id)
        try:
            self._say(lease, how)
        except LeaseLost:
            assert not live
        else:
            # A repeated call with the same lease changes nothing.
            assert live or self.queries.get(lease.job_id).version == before.version

    def _say(self, lease: Lease, how: str) -> None:
        failure = Failure(code="NETWORK_ERROR", message="broken", retryable=True)
        archive = Artifact(
            bucket="b", key="k", name="n", size=1, content_type="t", missing_files=how == "partial"
        )
        if how in {"complete", "partial"}:
            self.jobs.complete(lease, archive, Progress(processed_files=1))
        elif how == "fail":
            self.jobs.fail(lease, failure)
        elif how == "retry":
            self.jobs.retry_later(lease, failure, delay=3600)
        else:
            self.jobs.return_to_queue(lease)

    @rule(job_id=job_ids)
    def cancel(self, job_id: str) -> None:
        before = self.queries.get(job_id)
        try:
            assert self.jobs.cancel(job_id).status is JobState.CANCELLED
        except JobConflict:
            assert before.status in TERMINAL

    @rule(job_id=job_ids)
    def restart(self, job_id: str) -> None:
        before = self.queries.get(job_id)
        try:
            self.jobs.restart(job_id)
        except JobConflict:
            missing = before.artifact and before.artifact.missing_files
            assert before.status is not JobState.FAILED
            assert before.status is not JobState.COMPLETED or not missing
        except TooManyActiveJobs:
            assert before.status in RESTARTABLE
        else:
            self.restarted.add(job_id)

    @rule(job_id=job_ids)
    def retry_falls_due(self, job_id: str) -> None:
        name = keys.of_partition("retries", keys.tag_of_job(job_id))
        self.redis.zadd(name, {job_id: 0}, xx=True)
        self.expired_leases.sweep(busy)

    @rule(job_id=job_ids, priority=st.sampled_from(["normal", "low"]))
    def waits_too_long(self, job_id: str, priority: str) -> None:
        name = keys.of_partition("waiting", keys.tag_of_job(job_id), priority)
        self.redis.zadd(name, {job_id: 1}, xx=True)
        self.expired_leases.sweep(busy)

    @rule(lease=consumes(leases))
    def worker_dies(self, lease: Lease) -> None:
        name = keys.of_partition("leases", keys.tag_of_job(lease.job_id))
        self.redis.zadd(name, {lease.job_id: 0}, xx=True)
        self.expired_leases.sweep(busy)

    def _is_live(self, lease: Lease) -> bool:
        job = self.queries.get(lease.job_id)
        return job.status is JobState.PROCESSING and job.fencing_token == lease.fencing_token

    @invariant()
    def the_store_is_consistent(self) -> None:
        self.the_state_log_has_only_allowed_changes_without_gaps_in_versions()
        self.the_indexes_agree_with_the_hashes()

    def the_state_log_has_only_allowed_changes_without_gaps_in_versions(self) -> None:
        for tag in {keys.tag_of_user("alice"), keys.tag_of_user("bob")}:
            name = keys.of_partition("state_log", tag)
            entries: Any = self.redis.xrange(name)
            for entry_id, entry in entries:
                self._follow(events.decode(entry["job"]))
                self.redis.xdel(name, entry_id)

    def _follow(self, job: Job) -> None:
        before = self.seen.get(job.id)
        if before is None:
            assert (job.status, job.version) == (JobState.QUEUED, 1)
        else:
            assert job.version > before.version
            explicit = before.status in RESTARTABLE and job.status is JobState.QUEUED
            assert job.status in ALLOWED[before.status] or (explicit and job.id in self.restarted)
        self.seen[job.id] = job

    def the_indexes_agree_with_the_hashes(self) -> None:
        now = {job_id: self.queries.get(job_id) for job_id in self.seen}
        for user in ("alice", "bob"):
            active = {j.id for j in now.values() if j.user == user and not j.terminal}
            listed: Any = self.redis.hvals(keys.user_active(user))
            assert sorted(listed) == sorted(active)
        members = {
            name: {i for tag in keys.all_tags() for i in self._members(name, tag)}
            for name in ("leases", "retries", "waiting", "wake_ups_sent")
        }
        queued = {j.id for j in now.values() if j.status is JobState.QUEUED}
        assert members["leases"] == {j.id for j in now.values() if j.status is JobState.PROCESSING}
        assert members["waiting"] == queued - members["retries"]
        assert members["wake_ups_sent"] <= members["waiting"]
        # Each user with waiting jobs has exactly one wake-up per priority.
        priorities = {i: self.redis.hget(keys.status(i), "lane") for i in members["waiting"]}
        user_queues = {(now[i].user, priority) for i, priority in priorities.items()}
        assert len(members["wake_ups_sent"]) == len(user_queues)

    def _members(self, name: str, tag: str) -> list[Any]:
        if name in {"waiting", "wake_ups_sent"}:
            return [
                member
                for priority in PRIORITIES
                for member in self.redis.zrange(keys.of_partition(name, tag, priority), 0, -1)
            ]
        return list(self.redis.zrange(keys.of_partition(name, tag), 0, -1))

    def teardown(self) -> None:
        self.redis.close()


TestJobs = Jobs.TestCase
TestJobs.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
