"""The invariants: what has to hold for every accepted job once the dust has settled."""

from __future__ import annotations

import io
import time
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
from redis.exceptions import RedisError

from common.job_store import keys
from common.job_store.state_log import StateLog, StateLogEntry
from common.jobs.model import PRIORITIES, Job
from common.jobs.transitions import TERMINAL
from stack.sample_catalog import s3_client
from tests.faults.clients import Posted, StreamLoop
from tests.faults.environment import FILES, Arena, wait_for
from tests.faults.event_recorder import Witness

#: Partition-wide sets that only hold jobs in flight.
_IN_FLIGHT = ("leases", "retries")
#: Seconds until the webhook of a worker that died is posted by another, and until what it left in
#: the storage is looked for.
WEBHOOKS = 120.0
CLEANED = 120.0


@dataclass(kw_only=True)
class DeliveryOutcome:
    """What was found; everything but ``jobs``, ``outcomes`` and ``events`` has to be empty."""

    jobs: int = 0
    #: Events heard, whose versions were compared.
    events: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.twice or self.stuck or self.wrong or self.left_behind)

    def __str__(self) -> str:
        lines = [f"jobs {self.jobs}: {dict(self.outcomes)}; {self.events} events heard"]
        for name in ("lost", "twice", "stuck", "wrong", "left_behind"):
            found = getattr(self, name)
            lines.append(f"{name:12} {len(found):4}  {'; '.join(found[:5])}")
        return "\n".join(lines)


class FileChecksums:
    """Follows the state log during the soak, and judges at its end."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        # A group of its own, so that nothing is trimmed before it was read.
        self._state_log = StateLog(arena.redis, "referee", "referee")
        self._state_log.create_group()
        self._take_over_at = 0.0
        self._seen: set[tuple[str, str]] = set()
        self._witness = Witness(arena.system.redis_url)
        #: Every change of state, by job, in the state log's order.
        self.changes: dict[str, list[Job]] = defaultdict(list)

    def follow(self) -> None:
        """Read what is new in the state log; while the store is down or loads its file, nothing."""
        with suppress(RedisError):
            while entries := self._read():
                for entry in entries:
                    self._note(entry)
                self._state_log.ack(entries)

    def _note(self, entry: StateLogEntry) -> None:
        # An entry comes again where its acknowledgement was lost; ids are unique in a stream only.
        name = (entry.stream, entry.id)
        if entry.delivery is None and name not in self._seen:
            self._seen.add(name)
            self.changes[entry.job.id].append(entry.job)

    def _read(self) -> list[StateLogEntry]:
        entries = self._state_log.read(count=500)
        if not entries and time.monotonic() > self._take_over_at:
            # An answer that was lost on its way stays this reader's to finish.
            self._take_over_at = time.monotonic() + 2
            entries = self._state_log.claim_idle(idle_ms=2_000, count=500)
        return entries

    def all_ended(self, posted: Iterable[Posted]) -> bool:
        """Whether each of these requests was taken and its job has ended."""
        self.follow()
        return all(self._has_ended(each) for each in posted)

    def _has_ended(self, posted: Posted) -> bool:
        changes = [self.changes[job_id] for job_id in posted.job_ids]
        return bool(changes) and all(each and each[-1].terminal for each in changes)

    def settle(self, crowd: StreamLoop, timeout: float) -> float:
        """Wait until every job is finished and told of; the seconds until all were finished."""
        took = wait_for(lambda: self.all_ended(crowd.posted), "all jobs finished", timeout)
        with suppress(AssertionError):
            wait_for(lambda: not self._untold(crowd), "all webhooks", WEBHOOKS)
        with suppress(AssertionError):
            wait_for(lambda: not self._uploads(), "no upload left", CLEANED, every=2.0)
        return took

    def _untold(self, crowd: StreamLoop) -> list[str]:
        return [
            job_id
            for posted in crowd.posted
            for job_id in posted.job_ids
            if not self._arena.receiver.ids[job_id, self.changes[job_id][-1].status.value]
        ]

    def judge(self, crowd: StreamLoop) -> DeliveryOutcome:
        """Check every invariant; archives are fetched and compared byte by byte."""
        self.follow()
        self._witness.close()
        verdict = DeliveryOutcome(events=self._witness.heard)
        verdict.wrong += self._witness.gaps
        contents = {sample.file_id: (sample.name, sample.make()) for sample in FILES}
        # The links lead through the line, which nothing has to hold back any more.
        self._arena.s3_line.restore()
        with (
            httpx.Client(base_url=self._arena.system.base_url, timeout=30) as http,
            ThreadPoolExecutor(4) as hands,
        ):
            judged = [
                hands.submit(self._judge_job, http, posted, contents, verdict)
                for posted in crowd.posted
            ]
            for each in judged:
                each.result()
        self._judge_remains(verdict)
        return verdict

    def _judge_job(
        self,
        http: httpx.Client,
        posted: Posted,
        contents: dict[int, tuple[str, bytes]],
        verdict: DeliveryOutcome,
    ) -> None:
        verdict.jobs += 1
        if not posted.job_ids:
            verdict.lost.append(f"{posted.key}: never accepted {posted.never_to_be_seen}")
            return
        if len(posted.job_ids) > 1:
            verdict.twice.append(f"{posted.key}: jobs {posted.job_ids}")
            return
        job_id = next(iter(posted.job_ids))
        changes = self.changes[job_id]
        ends = [job for job in changes if job.status in TERMINAL]
        if not changes:
            verdict.lost.append(f"{job_id}: accepted, and never heard of again")
            return
        if not ends:
            verdict.stuck.append(f"{job_id}: {changes[-1].status}")
            return
        if len(ends) > 1:
            verdict.twice.append(f"{job_id}: {[job.status.value for job in ends]}")
        verdict.outcomes[ends[0].status.value] += 1
        versions = [job.version for job in changes]
        if versions != sorted(set(versions)) or versions[0] != 1:
            verdict.wrong.append(f"{job_id}: versions {versions}")
        told = self._arena.receiver.ids[job_id, ends[0].status.value]
        if len(told) != 1:
            verdict.wrong.append(f"{job_id}: {len(told)} webhook ids for {ends[0].status.value}")
        if ends[0].status.value == "completed":
            self._judge_archive(http, posted, job_id, contents, verdict)
        else:
            verdict.wrong.append(f"{job_id}: {ends[0].failure}")

    def _judge_archive(
        self,
        http: httpx.Client,
        posted: Posted,
        job_id: str,
        contents: dict[int, tuple[str, bytes]],
        verdict: DeliveryOutcome,
    ) -> None:
        link = http.get(f"/v1/download/status/{job_id}").json()["downloadUrl"]
        with zipfile.ZipFile(io.BytesIO(httpx.get(link, timeout=60).content)) as archive:
            found = [(info.filename, archive.read(info)) for info in archive.infolist()]
        wanted = [contents[file_id][1] for file_id in posted.file_ids]
        if [content for _, content in found] != wanted:
            names = [name for name, _ in found]
            verdict.wrong.append(f"{job_id}: the archive's bytes differ: {names}")

    def _judge_remains(self, verdict: DeliveryOutcome) -> None:
        redis = self._arena.redis
        names = [keys.of_partition(n, tag) for n in _IN_FLIGHT for tag in keys.all_tags()]
        names += [
            keys.of_partition(n, tag, priority)
            for n in ("waiting", "wake_ups_sent")
            for tag in keys.all_tags()
            for priority in PRIORITIES
        ]
        for pattern in ("user:active:*", "user:inflight:*", "user:turn:*", "user:line:*"):
            names += redis.scan_iter(pattern, count=1000)
        verdict.left_behind += [name for name in names if redis.exists(name)]
        verdict.left_behind += [f"upload {name}" for name in self._uploads()]

    def _uploads(self) -> list[str]:
        """Return the multipart uploads in the storage; the next round of a worker cleans up."""
        self._arena.redis.delete(keys.CLEANUP_DONE)
        s3 = s3_client(self._arena.system.s3_endpoint)
        uploads = s3.list_multipart_uploads(Bucket="archives").get("Uploads", [])
        return [upload["Key"] for upload in uploads]
