"""Workers that are killed while they compose an archive on a real S3 server."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from common.job_store import keys
from common.job_store.checkpoints import Checkpoints
from common.object_storage import ObjectStorage, StorageProfile
from tests.support.archives import RecordingControl, contents, make_request
from tests.support.crashes import Crash
from worker.archive import BuildOptions, build
from worker.archive.planning.layout import PartSizes
from worker.archive.storage_probe import probe_storage

MIB = 1024 * 1024
JOB = "10000000-0000-4000-8000-000000000001"
#: Small ranges, so that a kill hits a build with some of them copied.
FINE = PartSizes(copy_size=10 * MIB)

WORKER = """
import sys
from redis import Redis
from common.object_storage import ObjectStorage, StorageProfile
from common.job_store.checkpoints import Checkpoints
from tests.support.archives import RecordingControl, make_request
from tests.integration.archive.test_resume import FINE, JOB
from worker.archive import BuildOptions, build
from common.sources import source_from_template
endpoint, key, secret, port, files, archives, count = sys.argv[1:]
storage = ObjectStorage(endpoint=endpoint, region="us-east-1", access_key=key, secret_key=secret)
client = Redis(port=int(port), decode_responses=True)
build(
    make_request(list(range(int(count))), bucket=archives, job_id=JOB),
    source=source_from_template(f"s3://{files}/{{file_id}}", storage=storage),
    storage=storage,
    control=RecordingControl(),
    options=BuildOptions(checkpoint=Checkpoints(client).for_job(JOB), part_sizes=FINE),
)
"""


class CrashingStore:
    """The real storage until the given call; all later calls raise ``Crash``."""

    def __init__(self, storage: ObjectStorage, *, at: int, before: bool) -> None:
        self._storage, self._at, self._before = storage, at, before
        self._calls = 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._storage, name)
        if not callable(real):
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            self._calls += 1
            if self._calls > self._at or (self._calls == self._at and self._before):
                raise Crash
            result = real(*args, **kwargs)
            if self._calls == self._at:
                raise Crash
            return result

        return call


@pytest.fixture
def files(buckets: Any) -> dict[int, bytes]:
    rng = random.Random(4)
    files = {i: rng.randbytes(size) for i, size in enumerate([11 * MIB, 300, 6 * MIB, 40_000])}
    for file_id, data in files.items():
        buckets.put(file_id, data, name=f"{file_id}.bin")
    return files


@pytest.mark.timeout(300)
def test_an_archive_survives_crashes_at_many_calls(
    buckets: Any, redis: Redis, files: dict[int, bytes]
) -> None:
    at = 0
    for at in (*range(7, 32, 4), 10_000):
        buckets.storage.put_object(
            buckets.sources, "1", os.urandom(300), metadata={"filename": "1.bin"}
        )
        files[1] = buckets.read("1", buckets.sources)
        options = BuildOptions(checkpoint=Checkpoints(redis).for_job(JOB), part_sizes=FINE)
        request = make_request(list(files), bucket=buckets.archives, job_id=JOB)
        try:
            artifact = build(
                request, source=buckets.source(), control=RecordingControl(), options=options,
                storage=CrashingStore(buckets.storage, at=at, before=bool(at % 2)),
            )  # fmt: skip
        except Crash:
            artifact = build(
                request, source=buckets.source(), control=RecordingControl(), options=options,
                storage=buckets.storage,
            )  # fmt: skip
        expected = {f"{i}.bin": data for i, data in files.items()}
        assert contents(buckets.read(artifact.key)) == expected, f"crash at call {at}"
        assert buckets.unfinished() == []
        assert list(Checkpoints(redis).job_ids()) == []
    assert at == 10_000


@pytest.mark.timeout(300)
def test_after_kill_9_the_next_worker_repeats_only_what_was_in_flight(
    buckets: Any, redis: Redis, s3: Any, valkey: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    count, block = 10, os.urandom(16 * MIB)
    for file_id in range(count):
        buckets.put(file_id, block[file_id:], name=f"{file_id}.bin")
    arguments = [
        *(s3.endpoint, s3.access_key, s3.secret_key, str(valkey.port)),
        *(buckets.sources, buckets.archives, str(count)),
    ]
    root = Path(__file__).parents[3]
    worker = subprocess.Popen([sys.executable, "-c", WORKER, *arguments], cwd=root)
    deadline = time.monotonic() + 120
    while redis.llen(keys.upload_log(JOB)) < 10 and time.monotonic() < deadline:
        assert worker.poll() is None, "the build was over before it could be killed"
        time.sleep(0.005)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    logged = redis.llen(keys.upload_log(JOB))

    artifact = build(
        make_request(list(range(count)), bucket=buckets.archives, job_id=JOB),
        source=buckets.source(), storage=buckets.storage, control=RecordingControl(),
        options=BuildOptions(checkpoint=Checkpoints(redis).for_job(JOB), part_sizes=FINE),
    )  # fmt: skip

    members = contents(buckets.read(artifact.key))
    assert members == {f"{i}.bin": block[i:] for i in range(count)}
    assert logged >= 10
    log = capsys.readouterr().out
    resumed = int(log.rpartition("resumed=")[2].split()[0])
    assert resumed >= 40 * MIB
    assert buckets.unfinished() == []


def test_probe_leaves_nothing_behind(buckets: Any) -> None:
    found = probe_storage(buckets.storage, buckets.archives)
    assert found == StorageProfile(returns_part_crc32=True, trailing_crc32=False)
    assert buckets.storage.list_objects_v2(buckets.archives) == []
    assert buckets.unfinished() == []
