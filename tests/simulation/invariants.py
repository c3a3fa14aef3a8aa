"""The invariants: what must be true after every command that the job store executes."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import orjson
from redis.exceptions import NoScriptError, ResponseError

from common.job_store import keys, scripts
from common.job_store.worker_registry import DEAD_AFTER
from common.jobs.transitions import ALLOWED, RESTARTABLE, TERMINAL, JobState
from tests.simulation.processes import REGISTRATION_TIMEOUT
from tests.simulation.scheduler import NEVER

if TYPE_CHECKING:
    from common.jobs.model import WakeUpTemplate
    from tests.simulation.scheduler import Fault, SimulatedProcess
    from tests.simulation.store import StoreServer
    from tests.simulation.trace import Trace

#: Losses of a job that kills its workers until it runs alone: others may lose as many attempts.
SHARED_LOSSES: Final = 2
#: Jobs of one user that may start while another user waits: one whose wake-up is ahead in the
#: queue, and those that workers had taken from the queue already.
MAX_OVERTAKING: Final = 4
#: Seconds by which a lease may seem shorter: between two readings of the clock.
CLOCK_TOLERANCE: Final = 0.1
#: Commands between two checks of whole partitions.
FULL_CHECK_EVERY: Final = 400

#: What the report of an attempt leads to, by the outcome of its build. A retryable failure of the
#: last attempt fails the job instead.
RESULTS: Final = {
    "ok": "completed",
    "permanent": "failed",
    "retryable": "queued",
    "bug": "queued",
    "unavailable": "returned",
    "deadline": "returned",
}

_PRIORITIES = ("high", "normal", "low")


@dataclass
class ObservedJob:
    """What is known of a job from its snapshots."""

    id: str
    version: int
    status: str
    attempt: int
    fencing_token: int
    worker: str
    number: int
    user: str
    callback: str
    #: Attempts lost with their workers since the job was created or restarted.
    losses: int = 0
    lost_attempts: int = 0
    failures: int = 0
    #: When it was claimed or its lease was extended last. A replica may know an older lease.
    extended_at: float = field(default=NEVER, compare=False)
    #: Versions that a webhook is posted for: each end of the job, also before a restart.
    webhooks: tuple[int, ...] = ()
    #: A failover forgot what happened to the job: its worker may have finished it.
    is_forgotten: bool = False

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL


@dataclass(frozen=True)
class Violation:
    """An invariant that did not hold."""

    invariant: str
    details: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.details}"


class CommandChecker:
    """Watches every command, and remembers what the store promised."""

    def __init__(
        self,
        store: StoreServer,
        trace: Trace,
        template: WakeUpTemplate | None,
        *,
        max_attempts: int,
        lease: float,
        stop: Callable[[], object],
    ) -> None:
        """``stop`` ends the run at the first violation."""
        self._store = store
        self._trace = trace
        self._max_attempts = max_attempts
        self._lease = lease
        self._stop = stop
        self._verbs = _verbs(template)
        self._commands = 0
        self.jobs: dict[str, ObservedJob] = {}
        #: Jobs that were lost repeatedly at some time; few, so that looking at each job is rare.
        self._lost_repeatedly: set[str] = set()
        #: How builds end, by the id of the job and the fencing token of the attempt.
        self.outcomes: dict[tuple[str, int], str] = {}
        #: Processes by the names of workers.
        self.workers: dict[str, SimulatedProcess] = {}
        #: Numbers of jobs that do not fail because of lost workers if they have attempts to spare.
        self.must_survive: set[int] = set()
        #: Whether the store's clock jumps.
        self.clock_jumps = False
        #: Whether the waiting users are served in turn; faults may disturb that.
        self.checks_fairness = False
        #: For each waiting user and priority: how many jobs of each other user have started since.
        self._overtaken: dict[tuple[str, str], Counter[str]] = {}
        self.violation: Violation | None = None
        #: Job lives that reached a terminal state.
        self.ended = 0

    def fail(self, invariant: str, details: str) -> None:
        if self.violation is None:
            self.violation = Violation(invariant, details)
            self._trace.add("VIOLATION", str(self.violation))
            self._stop()

    # What the store executes.

    def on_command(self, words: list[bytes], result: Any) -> None:
        if isinstance(result, ResponseError) and not isinstance(result, NoScriptError):
            # FLUSHALL can remove a stream between two commands, also before its groups are read.
            allowed = ("NOGROUP", "BUSYGROUP", *(("no such key",) * (words[0] == b"XINFO")))
            if not str(result).startswith(allowed):
                self.fail("no command fails", f"{words[0]!r} {words[1:3]!r}: {result}")
        verb = self._verbs.get(words[1]) if words[0] == b"EVALSHA" else None
        touched: list[str] = []
        if verb == "create" and isinstance(result, list) and result[0] == b"CREATED":
            touched.append(self._created(orjson.loads(result[2])))
        if verb in ("heartbeat", "finish", "release") and isinstance(result, list):
            self._check_holder(verb, words, result)
        for channel, message in self._store.published:
            if channel.startswith(b"job:events:"):
                touched.append(self._changed(orjson.loads(message), verb))
        if verb == "cancel" and isinstance(result, list):
            self._check_cancellation(words, result)
        for job_id in touched:
            self._check_sets(job_id)
        self._commands += 1
        if self._commands % FULL_CHECK_EVERY == 0:
            self.check_partitions()

    def _created(self, snapshot: dict[str, str]) -> str:
        job_id = snapshot["id"]
        if job_id not in self.jobs:
            self.jobs[job_id] = _record(snapshot)
            self._log(snapshot, "create")
            if self.checks_fairness:
                self._overtaken.setdefault((snapshot["user"], snapshot["lane"]), Counter())
        return job_id

    def _changed(self, snapshot: dict[str, str], verb: str | None) -> str:
        job_id = snapshot["id"]
        before, now = self.jobs.get(job_id), _record(snapshot)
        if before is None:
            self.fail("only created jobs change", f"{job_id} at version {now.version}")
            return job_id
        now.lost_attempts, now.failures = before.lost_attempts, before.failures
        now.webhooks, now.extended_at = before.webhooks, before.extended_at
        # A report that was on its way says nothing about what the failover forgot.
        now.is_forgotten = before.is_forgotten and now.fencing_token == before.fencing_token
        if now.version != before.version + 1:
            self.fail("versions have no gap", f"{job_id}: {before.version} -> {now.version}")
        if now.status != before.status:
            self._log(snapshot, verb or "?")
            self._check_transition(before, now, verb)
            if verb in ("finish", "release"):
                self._check_result(before, now)
            self._count_attempt(before, now, verb)
            self._check_isolation(now)
            if self.checks_fairness:
                self._check_fairness(now, snapshot["lane"])
        self.jobs[job_id] = now
        return job_id

    def _check_transition(self, before: ObservedJob, now: ObservedJob, verb: str | None) -> None:
        source_state, target = JobState(before.status), JobState(now.status)
        restarted = verb == "restart" and source_state in RESTARTABLE and target == JobState.QUEUED
        if target not in ALLOWED[source_state] and not restarted:
            self.fail("transitions are allowed", f"{now.id}: {source_state} -> {target}")
        if now.status == "processing" and now.fencing_token <= before.fencing_token:
            self.fail(
                "fencing tokens grow", f"{now.id}: {before.fencing_token} -> {now.fencing_token}"
            )
        if now.status == "processing" and now.attempt > self._max_attempts:
            self.fail("attempts are limited", f"{now.id}: attempt {now.attempt}")
        if target in TERMINAL and target != JobState.EXPIRED:
            self.ended += 1
        if now.terminal and now.callback:
            now.webhooks += (now.version,)
        if restarted:
            now.lost_attempts = now.failures = 0
        if now.status == "processing":
            now.extended_at = self._store.scheduler.now
        used = now.failures + now.lost_attempts
        if now.status == "processing" and now.attempt != used + 1:
            self.fail(
                "only failures and losses use up attempts",
                f"job {now.number} ({now.id}): attempt {now.attempt} after {now.failures} failures "
                f"and {now.lost_attempts} losses",
            )

    def _check_result(self, before: ObservedJob, now: ObservedJob) -> None:
        """A job ends, or waits for its next attempt, as the build of the attempt says."""
        outcome = self.outcomes.get((before.id, before.fencing_token), "unknown")
        expected = RESULTS.get(outcome)
        if expected == "queued" and before.attempt >= self._max_attempts:
            expected = "failed"
        result = "returned" if now.attempt == before.attempt - 1 else now.status
        worker = self.workers.get(before.worker)
        if result == "returned" and worker is not None and worker.draining:
            return
        if result != expected:
            self.fail(
                "jobs end as their builds",
                f"job {now.number} ({now.id}): {result} after attempt {before.attempt}, which was "
                f"{outcome}",
            )

    def _count_attempt(self, before: ObservedJob, now: ObservedJob, verb: str | None) -> None:
        if before.status != "processing" or now.status not in ("queued", "failed"):
            return
        if verb != "sweep":
            now.failures += now.attempt == before.attempt
            return
        now.lost_attempts += 1
        if (now.status == "failed") != (before.attempt >= self._max_attempts):
            self.fail(
                "attempts are limited",
                f"job {now.number} ({now.id}) is {now.status} after attempt {before.attempt}",
            )
        has_spare_attempts = now.failures + SHARED_LOSSES < self._max_attempts
        if now.status == "failed" and now.number in self.must_survive and has_spare_attempts:
            self.fail("a poison job takes no others along", f"job {now.number} ({now.id}) failed")
        worker = self.workers.get(before.worker)
        if worker is None or not worker.alive or before.is_forgotten:
            return
        if not self._has_cause(before, worker):
            silent = self._store.scheduler.now - before.extended_at
            self.fail(
                "no attempt is lost without a cause",
                f"job {now.number} ({now.id}) was taken from {before.worker}, which works and "
                f"extended the lease {silent:.1f} s ago",
            )

    def _has_cause(self, job: ObservedJob, worker: SimulatedProcess) -> bool:
        """Return whether a fault explains that a living worker lost a job.

        It has to keep the worker from extending the lease. One short stop or cut-off does not: the
        longest timeout, that of the registration, is half a lease.
        """
        now, since = self._store.scheduler.now, job.extended_at
        if now - since < DEAD_AFTER / 1000:
            return False
        disturbed = [worker.disturbed_until.get(task, NEVER) for task in ("heartbeat", job.id)]
        if max(disturbed) >= since:
            return True
        faults = [
            fault for fault in worker.faults if _lasts_until(fault) >= since and fault.start <= now
        ]
        # A lease that was stored by a wrong clock is replaced by one that is half as long.
        expires_after = self._lease / 2 if self.clock_jumps else self._lease
        is_cut_off = any(fault.kind == "cut_off" for fault in faults)
        if not is_cut_off and now - since < expires_after - CLOCK_TOLERANCE:
            return False  # Only a worker without a connection loses a lease that has not expired.
        return len(faults) > 1 or any(fault.end - fault.start > self._lease / 2 for fault in faults)

    def _check_isolation(self, now: ObservedJob) -> None:
        """A job that was lost repeatedly runs alone: it may be what kills its workers."""
        if now.losses >= SHARED_LOSSES:
            self._lost_repeatedly.add(now.id)
        if now.status != "processing" or not self._lost_repeatedly:
            return
        others = [
            job
            for job in self.jobs.values()
            if job.worker == now.worker
            and job.status == now.status
            and job.id != now.id
            and not job.is_forgotten
        ]
        if not others:
            return
        for job in (now, *others):
            if job.losses >= SHARED_LOSSES:
                numbers = [each.number for each in (now, *others)]
                self.fail(
                    "a job that was lost repeatedly runs alone",
                    f"job {job.number} ({job.id}), of the jobs {numbers} on {now.worker}",
                )

    def _check_fairness(self, now: ObservedJob, priority: str) -> None:
        """A user with many queued jobs gets only a fair share of the workers."""
        if now.status != "processing":
            return
        self._overtaken[now.user, priority] = Counter()
        self._overtaken = {
            waiting: started
            for waiting, started in self._overtaken.items()
            if self._user_queue(*waiting) in self._store.keys
        }
        for (user, waiting_priority), started in self._overtaken.items():
            if waiting_priority == priority and user != now.user:
                started[now.user] += 1
                if started[now.user] > MAX_OVERTAKING:
                    self.fail(
                        "fair share",
                        f"{started[now.user]} jobs of {now.user} started while {user} waited",
                    )

    @staticmethod
    def _user_queue(user: str, priority: str) -> bytes:
        pattern = keys.PATTERNS["user_queue"]
        return pattern.format(tag=keys.tag_of_user(user), user=user, priority=priority).encode()

    def _check_holder(self, verb: str, words: list[bytes], result: list[Any]) -> None:
        """One lease per job: the store accepts reports only from the attempt that holds it."""
        job_id = words[3].rpartition(b":")[2].decode()
        record = self.jobs.get(job_id)
        if record is None:
            return
        # The names of arguments come before everything that a job may contain.
        fencing_token = int(words[words.index(b"fencing_token") + 1])
        if result[0] not in (b"CONTINUE", b"FINISHED", b"QUEUED"):
            if record.status == "processing" and fencing_token == record.fencing_token:
                self.fail(
                    "one lease per job",
                    f"{verb} of job {record.number} ({job_id}) by its holder: {result[0]!r}",
                )
            return
        if fencing_token != record.fencing_token:
            self.fail(
                "one lease per job",
                f"{verb} of job {record.number} ({job_id}) with the fencing token {fencing_token} "
                f"instead of {record.fencing_token}",
            )
        if verb == "heartbeat":
            record.extended_at = self._store.scheduler.now
        caller = self._store.scheduler.calling
        if verb != "heartbeat" or caller is None:
            return
        if record.status != "processing" or caller.name != record.worker:
            self.fail(
                "one lease per job",
                f"job {record.number} ({job_id}) is {record.status} and belongs to "
                f"{record.worker or 'no worker'}, and {caller.name} extends its lease",
            )

    def _check_cancellation(self, words: list[bytes], result: list[Any]) -> None:
        record = self.jobs.get(words[3].rpartition(b":")[2].decode())
        if record is None or (record.status == "cancelled") == (result[0] == b"CANCELLED"):
            return
        if result[0] == b"NOT_FOUND":
            return  # The job has expired since.
        self.fail(
            "accepted cancellations cancel",
            f"job {record.number} ({record.id}) is {record.status}: {result[0]!r}",
        )

    # What is stored.

    def _check_sets(self, job_id: str) -> None:
        record = self.jobs.get(job_id)
        if record is None:
            return
        tag, name, state = keys.tag_of_job(job_id), job_id.encode(), record.status
        found = {
            "leases": self._has("leases", tag, name),
            "retries": self._has("retries", tag, name),
            "waiting": any(self._has("waiting", tag, name, each) for each in _PRIORITIES),
            "expiring": self._has("expiring", tag, name),
        }
        expected = {
            "leases": state == "processing",
            "expiring": state == "completed",
            "retries": found["retries"] and state == "queued",
            "waiting": state == "queued" and not found["retries"],
        }
        if found != expected:
            self.fail("sets match states", f"{job_id} is {state}, found in {_true(found)}")
        active = self._store.keys.get(keys.user_active(record.user).encode())
        is_active = active is not None and name in active.value.getall().values()
        if is_active == record.terminal:
            self.fail("active jobs match states", f"{job_id} is {state}, active: {is_active}")
        if record.terminal:
            for key in (keys.status(job_id), keys.spec(job_id), keys.files(job_id)):
                item = self._store.keys.get(key.encode())
                if item is not None and item.expireat is None:
                    self.fail("nothing without an expiry", f"{key} of a job that is {state}")

    def check_partitions(self) -> None:
        """Check that the sets contain exactly the jobs that are in their states."""
        by_state: dict[str, set[str]] = {}
        for job_id, record in self.jobs.items():
            by_state.setdefault(record.status, set()).add(job_id)
        leases = set(self._members("leases"))
        if leases != by_state.get("processing", set()):
            difference = leases ^ by_state.get("processing", set())
            self.fail("counts equal sets", f"leases and processing jobs differ in {difference}")
        waiting = {id for each in _PRIORITIES for id in self._members("waiting", each)}
        queued = waiting | set(self._members("retries"))
        if queued != by_state.get("queued", set()):
            difference = queued ^ by_state.get("queued", set())
            self.fail("counts equal sets", f"queues and queued jobs differ in {difference}")

    def _members(self, name: str, priority: str = "") -> Iterable[str]:
        for tag in keys.all_tags():
            item = self._store.keys.get(_partition_key(name, tag, priority))
            if item is not None:
                yield from (member.decode() for member in item.value)

    def _has(self, name: str, tag: str, member: bytes, priority: str = "") -> bool:
        item = self._store.keys.get(_partition_key(name, tag, priority))
        return item is not None and member in item.value

    def copy_jobs(self) -> dict[str, ObservedJob]:
        return copy.deepcopy(self.jobs)

    def go_back_to(self, jobs: dict[str, ObservedJob]) -> None:
        """Follow a failover to a replica that knows only this."""
        for job_id, record in jobs.items():
            record.is_forgotten |= record != self.jobs.get(job_id)
        self.jobs = jobs

    def unfinished(self) -> list[ObservedJob]:
        return [record for record in self.jobs.values() if not record.terminal]

    def _log(self, snapshot: dict[str, str], verb: str) -> None:
        number = orjson.loads(snapshot.get("metadata", "{}")).get("job", "?")
        details = [f"job {number} v{snapshot['version']} {snapshot['status']} by {verb}"]
        for name in ("attempt", "worker", "error_code", "fence", "retry_at"):
            if snapshot.get(name):
                details.append(f"{name}={snapshot[name]}")
        self._trace.add("store", " ".join(details))


@cache
def _partition_key(name: str, tag: str, priority: str) -> bytes:
    return keys.of_partition(name, tag, priority).encode()


def _record(snapshot: dict[str, str]) -> ObservedJob:
    return ObservedJob(
        id=snapshot["id"],
        version=int(snapshot["version"]),
        status=snapshot["status"],
        attempt=int(snapshot.get("attempt") or 0),
        fencing_token=int(snapshot.get("fence") or 0),
        worker=snapshot.get("worker", ""),
        number=orjson.loads(snapshot.get("metadata", "{}")).get("job", 0),
        user=snapshot["user"],
        callback=snapshot.get("callback_url", ""),
        losses=int(snapshot.get("losses") or 0),
    )


def _verbs(template: WakeUpTemplate | None) -> dict[bytes, str]:
    """Return the names of the scripts by their SHA-1 digests."""
    folder = files("common.job_store") / "lua"
    names = [
        each.name.removesuffix(".lua") for each in folder.iterdir() if each.name.endswith(".lua")
    ]
    return {
        hashlib.sha1(scripts.source(name, each).encode()).hexdigest().encode(): name  # noqa: S324
        for name in names
        for each in {template, None}
    }


def _lasts_until(fault: Fault) -> float:
    """Return when the effect of a fault ends: calls that a cut-off interrupts end by timeout."""
    return fault.end + (REGISTRATION_TIMEOUT if fault.kind == "cut_off" else 0)


def _true(values: dict[str, bool]) -> list[str]:
    return [name for name, value in values.items() if value]
