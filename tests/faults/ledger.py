"""The invariants: what has to hold for every accepted job once the dust has settled."""

from __future__ import annotations

import io
import zipfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import boto3
import httpx
from botocore.config import Config

from common.jobs.model import Job
from common.jobs.transitions import TERMINAL
from common.store import keys
from common.store.journal import Journal
from stack.services import ACCESS_KEY, SECRET_KEY
from tests.faults.arena import FILES, Arena, wait_for
from tests.faults.crowd import Crowd, Posted

#: Partition-wide sets that only hold jobs in flight.
_IN_FLIGHT = ("leases", "retries")
_LANES = ("high", "normal", "low")


@dataclass(kw_only=True)
class Verdict:
    """What was found; everything but ``jobs`` and ``outcomes`` has to be empty."""

    jobs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.twice or self.stuck or self.wrong or self.left_behind)


class Ledger:
    """Follows the journal during the soak, and judges at its end."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        # A group of its own, so that nothing is trimmed before it was read.
        self._journal = Journal(arena.redis, "referee", "referee")
        self._journal.join()
        #: Every change of state, by job, in the journal's order.
        self.changes: dict[str, list[Job]] = defaultdict(list)

    def follow(self) -> None:
        """Read what is new in the journal."""
        while entries := self._journal.read(count=500):
            for entry in entries:
                if entry.delivery is None:
                    self.changes[entry.job.id].append(entry.job)
            self._journal.ack(entries)

    def settle(self, crowd: Crowd, timeout: float) -> float:
        """Wait until every accepted job is finished; the seconds that it took."""

        def finished() -> bool:
            self.follow()
            posted = crowd.accepted()
            return crowd.done and all(self._terminal(p) for p in posted)

        return wait_for(finished, "all jobs finished", timeout)

    def _terminal(self, posted: Posted) -> bool:
        changes = self.changes[next(iter(posted.job_ids))]
        return bool(changes) and changes[-1].terminal

    def judge(self, crowd: Crowd) -> Verdict:
        """Check every invariant; archives are fetched and compared byte by byte."""
        self.follow()
        verdict = Verdict()
        contents = {sample.file_id: (sample.name, sample.make()) for sample in FILES}
        with httpx.Client(base_url=self._arena.system.base_url, timeout=30) as http:
            for posted in crowd.posted:
                self._judge_job(http, posted, contents, verdict)
        self._judge_remains(verdict)
        return verdict

    def _judge_job(
        self,
        http: httpx.Client,
        posted: Posted,
        contents: dict[int, tuple[str, bytes]],
        verdict: Verdict,
    ) -> None:
        verdict.jobs += 1
        if len(posted.job_ids) != 1:
            (verdict.twice if posted.job_ids else verdict.lost).append(f"{posted.key}: two jobs")
            return
        job_id = next(iter(posted.job_ids))
        changes = self.changes[job_id]
        ends = [job for job in changes if job.status in TERMINAL]
        if not ends:
            verdict.stuck.append(f"{job_id}: {changes[-1].status if changes else 'unknown'}")
            return
        if len(ends) > 1:
            verdict.twice.append(f"{job_id}: {[job.status.value for job in ends]}")
        verdict.outcomes[ends[0].status.value] += 1
        versions = [job.version for job in changes]
        if versions != sorted(set(versions)) or versions[0] != 1:
            verdict.wrong.append(f"{job_id}: versions {versions}")
        if len(self._arena.receiver.ids[job_id, ends[0].status.value]) != 1:
            verdict.wrong.append(f"{job_id}: webhook ids for {ends[0].status.value}")
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
        verdict: Verdict,
    ) -> None:
        link = http.get(f"/v1/download/status/{job_id}").json()["downloadUrl"]
        with zipfile.ZipFile(io.BytesIO(httpx.get(link, timeout=60).content)) as archive:
            found = {info.filename: archive.read(info) for info in archive.infolist()}
        if found != dict(contents[file_id] for file_id in posted.file_ids):
            verdict.wrong.append(f"{job_id}: the archive's bytes differ")

    def _judge_remains(self, verdict: Verdict) -> None:
        redis = self._arena.redis
        names = [keys.of_partition(n, tag) for n in _IN_FLIGHT for tag in keys.all_tags()]
        names += [
            keys.of_partition(n, tag, lane)
            for n in ("waiting", "hinted")
            for tag in keys.all_tags()
            for lane in _LANES
        ]
        for pattern in ("user:active:*", "user:inflight:*", "user:turn:*", "user:line:*"):
            names += redis.scan_iter(pattern, count=1000)
        verdict.left_behind += [name for name in names if redis.exists(name)]
        s3 = boto3.client(
            "s3",
            endpoint_url=self._arena.system.s3_endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(retries={"max_attempts": 5}),
        )
        uploads = s3.list_multipart_uploads(Bucket="archives").get("Uploads", [])
        verdict.left_behind += [f"upload {upload['Key']}" for upload in uploads]
