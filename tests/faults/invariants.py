"""The invariants that have to hold for every accepted job after the faults."""

from __future__ import annotations

import io
import time
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpx
import orjson
from redis.exceptions import RedisError
from sqlalchemy import select

from common.errors import NetworkError, StorageError
from common.history import open_engine
from common.history.tables import CHANGES
from common.job_store import keys
from common.job_store.state_log import StateLog, StateLogEntry
from common.jobs.model import PRIORITIES, Job
from common.jobs.transitions import ALLOWED, TERMINAL
from stack.sample_catalog import s3_client
from tests.faults.clients import LoadClients, Posted
from tests.faults.environment import FILES, Environment, wait_for
from tests.faults.event_recorder import EventRecorder, server_of

#: Sets of a partition that contain only unfinished jobs.
_IN_FLIGHT = ("leases", "retries")
#: Seconds until another worker has posted the webhook of a worker that died, and until its uploads
#: are aborted. Those that began while Valkey was unavailable are kept for JOB_DEADLINE, 300 s.
WEBHOOK_TIMEOUT = 120.0
CLEANUP_TIMEOUT = 420.0
#: Seconds until the history has caught up.
HISTORY_TIMEOUT = 60.0
#: Seconds within which a 429 or 503 has to arrive, and what a busy machine adds to them.
MAX_REJECTION = 2.0
BUSY_MACHINE = 0.5
#: The errors of an attempt whose requests the storage failed.
STORAGE_ERRORS = frozenset({NetworkError.code, StorageError.code})


@dataclass(kw_only=True)
class InvariantReport:
    """The violations, which have to be empty, and some counts."""

    jobs: int = 0
    #: Events whose versions were checked.
    events: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    #: The attempts that ended without an archive and counted, by error code.
    used_attempts: Counter[str] = field(default_factory=Counter)
    #: The keys of the archives; several jobs may share one.
    archives: set[str] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    remaining: list[str] = field(default_factory=list)
    #: The number of requests that were rejected, by status, and of those without a response.
    rejections: Counter[str] = field(default_factory=Counter)
    #: Seconds.
    slowest_rejection: float = 0.0

    @property
    def clean(self) -> bool:
        return not (self.lost or self.twice or self.stuck or self.wrong or self.remaining)

    def __str__(self) -> str:
        lines = [
            f"jobs {self.jobs}: {dict(self.outcomes)}; {self.events} events",
            f"archives built: {len(self.archives)}",
            f"attempts used: {dict(self.used_attempts) or 'none'}",
            f"rejected requests: {dict(self.rejections) or 'none'}",
            f"slowest rejection: {self.slowest_rejection:.1f} s",
        ]
        for name in ("lost", "twice", "stuck", "wrong", "remaining"):
            found = getattr(self, name)
            lines.append(f"{name:12} {len(found):4}  {'; '.join(found[:5])}")
        return "\n".join(lines)


class InvariantChecker:
    """Reads the state log during the soak, and checks the invariants at its end."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        # A separate consumer group, so that no entry is trimmed before it is read.
        self._state_log = StateLog(environment.redis, "referee", "referee")
        self._state_log.create_group()
        self._take_over_at = 0.0
        self._seen: set[tuple[str, str]] = set()
        self._event_recorder = EventRecorder(environment.system.redis_url)
        self._server = server_of(environment.redis)
        #: Jobs whose latest changes were read from a server that has been killed since.
        self._uncertain: set[str] = set()
        #: Keys of requests whose jobs may use attempts.
        self._may_use_attempts: set[str] = set()
        #: Keys of requests whose Idempotency-Keys may have expired.
        self._may_be_unknown: set[str] = set()
        #: Every change of state, by job, in the state log's order.
        self.changes: dict[str, list[Job]] = defaultdict(list)

    def follow(self) -> None:
        """Read the new entries of the state log; none while Valkey is unavailable."""
        with suppress(RedisError):
            if (server := server_of(self._environment.redis)) != self._server:
                self._server = server
                self._uncertain = set(self.changes)
            while entries := self._read():
                for entry in entries:
                    self._add(entry)
                self._state_log.ack(entries)

    def _add(self, entry: StateLogEntry) -> None:
        # An entry is read again if its acknowledgement was lost. Ids are unique within a stream.
        name = (entry.stream, entry.id)
        if entry.delivery is None and name not in self._seen:
            self._seen.add(name)
            changes = self.changes[entry.job.id]
            if entry.job.id in self._uncertain:
                # The server may have lost its latest writes, and then assigns their versions again.
                self._uncertain.remove(entry.job.id)
                changes[:] = [each for each in changes if each.version < entry.job.version]
            changes.append(entry.job)

    def _read(self) -> list[StateLogEntry]:
        entries = self._state_log.read(count=500)
        if not entries and time.monotonic() > self._take_over_at:
            # The entries of a lost response are still pending for this consumer.
            self._take_over_at = time.monotonic() + 2
            entries = self._state_log.claim_idle(idle_ms=2_000, count=500)
        return entries

    def allow_attempts(self, posted: Iterable[Posted]) -> None:
        """Permit the jobs of these requests to use attempts because of errors of the storage."""
        self._may_use_attempts.update(each.key for each in posted)

    def allow_unknown(self, posted: Iterable[Posted]) -> None:
        """Permit that these requests are not recognized any more.

        They were accepted by a clock that was set back: a later shift forward by more than the rest
        of a day ends the lifetime of their Idempotency-Keys.
        """
        self._may_be_unknown.update(each.key for each in posted)

    def unended(self, posted: Iterable[Posted]) -> list[Posted]:
        """Return the requests that were not accepted yet, or whose jobs have not ended."""
        self.follow()
        return [each for each in posted if not self._has_ended(each)]

    def all_ended(self, posted: Iterable[Posted]) -> bool:
        """Return whether each of these requests was accepted and its job has ended."""
        return not self.unended(posted)

    def _has_ended(self, posted: Posted) -> bool:
        changes = [self.changes[job_id] for job_id in posted.job_ids]
        return bool(changes) and all(each and each[-1].terminal for each in changes)

    def wait_until_settled(self, clients: LoadClients, timeout: float) -> float:
        """Wait for all jobs and webhooks; return the seconds until all jobs had ended.

        If they do not end in time, the report names those that are stuck.
        """
        started = time.monotonic()
        with suppress(AssertionError):
            wait_for(lambda: self.all_ended(clients.posted), "all jobs finished", timeout)
        took = time.monotonic() - started
        if not self.all_ended(clients.posted):
            return took
        with suppress(AssertionError):
            wait_for(lambda: not self._missing_webhooks(clients), "all webhooks", WEBHOOK_TIMEOUT)
        return took

    def _missing_webhooks(self, clients: LoadClients) -> list[str]:
        return [
            job_id
            for posted in clients.posted
            for job_id in posted.job_ids
            if not self._environment.receiver.ids[job_id, self.changes[job_id][-1].status.value]
        ]

    def check(self, clients: LoadClients, report: InvariantReport) -> None:
        """Check every invariant, and compare every archive byte by byte; add to the report."""
        self.follow()
        self._event_recorder.close()
        report.events += self._event_recorder.events
        report.rejections += clients.rejections
        report.wrong += self._event_recorder.gaps
        accepted = {job_id for posted in clients.posted for job_id in posted.job_ids}
        report.twice += [
            f"{job_id}: no response named it" for job_id in self.changes.keys() - accepted
        ]
        contents = {sample.file_id: (sample.name, sample.make()) for sample in FILES}
        # Downloads pass through the proxy, which need not delay them meanwhile.
        self._environment.s3_tcp_proxy.restore()
        with (
            httpx.Client(base_url=self._environment.system.base_url, timeout=30) as http,
            ThreadPoolExecutor(4) as pool,
        ):
            checks = [
                pool.submit(self._check_request, http, clients, posted, contents, report)
                for posted in clients.posted
            ]
            for each in checks:
                each.result()
        self._environment.heal()
        self._check_history(report)
        self._check_remaining(report)

    def _check_history(self, report: InvariantReport) -> None:
        """Every change of a job's state has to be in the history, once."""
        engine = open_engine(self._environment.system.env["DATABASE_URL"], timeout=30, size=1)
        logged = {
            (job.id, job.version, job.status.value)
            for jobs in self.changes.values()
            for job in jobs
        }
        recorded: set[tuple[str, int, str]] = set()

        def complete() -> bool:
            with engine.connect() as connection:
                columns = (CHANGES.c.job_id, CHANGES.c.version, CHANGES.c.status)
                recorded.update(tuple(row) for row in connection.execute(select(*columns)))
            return recorded >= logged

        with suppress(AssertionError):
            wait_for(complete, "the whole history", HISTORY_TIMEOUT, every=1.0)
        engine.dispose()
        report.lost += [f"{name}: not in the history" for name in sorted(logged - recorded)]

    def _check_request(
        self,
        http: httpx.Client,
        clients: LoadClients,
        posted: Posted,
        contents: dict[int, tuple[str, bytes]],
        report: InvariantReport,
    ) -> None:
        if self._has_ended(posted) and posted.key not in self._may_be_unknown:
            # Its Idempotency-Key has to find the same job, long after the job has ended, too.
            clients.repeat(http, posted)
            if posted.unexpected_response:
                report.wrong.append(f"{posted.key}: repeated: {posted.unexpected_response}")
        self._check_job(http, posted, contents, report)

    def _check_job(
        self,
        http: httpx.Client,
        posted: Posted,
        contents: dict[int, tuple[str, bytes]],
        report: InvariantReport,
    ) -> None:
        report.jobs += 1
        report.slowest_rejection = max(report.slowest_rejection, posted.slowest_rejection)
        if posted.slowest_rejection > MAX_REJECTION + BUSY_MACHINE:
            report.wrong.append(f"{posted.key}: rejected after {posted.slowest_rejection:.1f} s")
        if not posted.job_ids:
            report.lost.append(f"{posted.key}: never accepted {posted.unexpected_response}")
            return
        if len(posted.job_ids) > 1:
            report.twice.append(f"{posted.key}: jobs {posted.job_ids}")
            return
        job_id = next(iter(posted.job_ids))
        changes = self.changes[job_id]
        terminal_states = [job for job in changes if job.status in TERMINAL]
        if not changes:
            report.lost.append(f"{job_id}: accepted, but not in the state log")
            return
        if not terminal_states:
            report.stuck.append(f"{job_id}: {changes[-1].status}")
            return
        if len(terminal_states) > 1:
            report.twice.append(f"{job_id}: {[job.status.value for job in terminal_states]}")
        report.outcomes[terminal_states[0].status.value] += 1
        versions = [job.version for job in changes]
        if versions != sorted(set(versions)) or versions[0] != 1:
            report.wrong.append(f"{job_id}: versions {versions}")
        states = [job.status for job in changes]
        # The soak cancels and restarts no job.
        if any(after not in ALLOWED[before] for before, after in pairwise(states)):
            report.wrong.append(f"{job_id}: states {[state.value for state in states]}")
        newest_event = self._event_recorder.newest.get(job_id, versions[-1])
        if newest_event < versions[-1]:
            report.wrong.append(f"{job_id}: no event after version {newest_event}")
        self._check_attempts(posted, job_id, report)
        webhooks = self._environment.receiver.of_job(job_id)
        if list(map(len, webhooks.values())) != [1] or terminal_states[0].status not in webhooks:
            report.wrong.append(f"{job_id}: webhook ids {webhooks}")
        if terminal_states[0].status.value == "completed":
            if artifact := terminal_states[0].artifact:
                report.archives.add(artifact.key)
            self._check_archive(http, posted, job_id, contents, report)
        else:
            report.wrong.append(f"{job_id}: {terminal_states[0].failure}")

    def _check_attempts(self, posted: Posted, job_id: str, report: InvariantReport) -> None:
        """Report the attempts that the job used without a cause."""
        for stored in self._environment.redis.lrange(keys.attempts(job_id), 0, -1):
            attempt = orjson.loads(stored)
            report.used_attempts[attempt["errorCode"]] += 1
            if not self._may_be_used(posted, attempt):
                report.wrong.append(
                    f"{job_id}: attempt {attempt['attempt']} of {attempt['worker']} used: "
                    f"{attempt['errorCode']} {attempt['error']}"
                )

    def _may_be_used(self, posted: Posted, attempt: dict[str, Any]) -> bool:
        if attempt["errorCode"] == "WORKER_LOST":
            return int(attempt["worker"].split("-")[-2]) in self._environment.lost_workers
        # A storage that fails some requests is not unavailable: one or two jobs may fail until
        # the circuit breaker opens (docs/decisions/0011-jobs-wait-during-outages.md).
        return posted.key in self._may_use_attempts and attempt["errorCode"] in STORAGE_ERRORS

    def _check_archive(
        self,
        http: httpx.Client,
        posted: Posted,
        job_id: str,
        contents: dict[int, tuple[str, bytes]],
        report: InvariantReport,
    ) -> None:
        link = http.get(f"/v1/download/status/{job_id}").json()["downloadUrl"]
        with zipfile.ZipFile(io.BytesIO(httpx.get(link, timeout=60).content)) as archive:
            found = [(info.filename, archive.read(info)) for info in archive.infolist()]
        names = [name for name, _ in found]
        if [content for _, content in found] != [contents[each][1] for each in posted.file_ids]:
            report.wrong.append(f"{job_id}: the bytes of the archive differ: {names}")
        if names != (expected := _expected_names(posted, contents)):
            report.wrong.append(f"{job_id}: the archive contains {names}, not {expected}")

    def _check_remaining(self, report: InvariantReport) -> None:
        redis = self._environment.redis
        names = [keys.of_partition(n, tag) for n in _IN_FLIGHT for tag in keys.all_tags()]
        names += [
            keys.of_partition(n, tag, priority)
            for n in ("waiting", "wake_ups_sent")
            for tag in keys.all_tags()
            for priority in PRIORITIES
        ]
        for pattern in ("user:active:*", "user:line:*"):
            names += redis.scan_iter(pattern, count=1000)
        report.remaining += [name for name in names if redis.exists(name)]

    def check_clean_up(self, report: InvariantReport) -> None:
        """Report the uploads that the workers do not abort in time."""
        print(f"waiting up to {CLEANUP_TIMEOUT:.0f} s for clean-up", flush=True)
        with suppress(AssertionError):
            wait_for(lambda: not self._uploads(), "no upload left", CLEANUP_TIMEOUT, every=2.0)
        report.remaining += [f"upload {name}" for name in self._uploads()]

    def _uploads(self) -> list[str]:
        """Return the multipart uploads in the storage; the next round of a worker cleans up."""
        self._environment.redis.delete(keys.CLEANUP_DONE)
        s3 = s3_client(self._environment.system.s3_endpoint)
        uploads = s3.list_multipart_uploads(Bucket="archives").get("Uploads", [])
        return [upload["Key"] for upload in uploads]


def _expected_names(posted: Posted, contents: dict[int, tuple[str, bytes]]) -> list[str]:
    """Return the names in the archive. The second of two files with the same name is numbered."""
    names: list[str] = []
    for file_id in posted.file_ids:
        name = posted.folder + contents[file_id][0]
        stem, dot, extension = name.rpartition(".")
        names.append(f"{stem} (2){dot}{extension}" if name in names else name)
    return names
