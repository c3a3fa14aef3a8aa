"""Bytes that are corrupted between the storage and the worker."""

from __future__ import annotations

import io
import random
import uuid
import zipfile
from collections.abc import Sequence
from contextlib import closing, suppress

from common.errors import DownloadError
from common.jobs.model import OnMissing
from common.object_storage import ObjectStorage
from common.sources import source_from_template
from stack.sample_catalog import CATALOG, SampleFile, fill, s3_client
from stack.services import ACCESS_KEY, S3, SECRET_KEY
from tests.support.s3_proxy import S3Proxy
from worker.archive import BuildRequest, build
from worker.attempt.control import AttemptControl

FILES = CATALOG[:8]


def test_corrupted_bytes_never_get_into_an_archive_of_files_with_checksums(s3: S3) -> None:
    bucket = f"corrupted-{uuid.uuid4().hex[:8]}"
    chance = random.Random(5)
    built = 0
    with (
        closing(s3_client(s3.endpoint)) as client,
        S3Proxy(int(s3.endpoint.rpartition(":")[2]), seed=1) as proxy,
        closing(storage_at(f"http://127.0.0.1:{proxy.port}")) as storage,
    ):
        fill(client, FILES)
        storage.ensure_bucket(bucket, ttl=86_400)
        proxy.fail("flip", share=0.3)
        for _ in range(15):
            samples = chance.sample(FILES, chance.randint(2, 5))
            with suppress(DownloadError):
                key = build_archive(samples, storage, bucket)
                body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
                with zipfile.ZipFile(io.BytesIO(body)) as archive:
                    found = [archive.read(member) for member in archive.infolist()]
                assert found == [sample.make() for sample in samples]
                built += 1
    assert built > 2
    assert proxy.injected["flip"] > 15


def storage_at(endpoint: str) -> ObjectStorage:
    return ObjectStorage(
        endpoint=endpoint, region="us-east-1", access_key=ACCESS_KEY, secret_key=SECRET_KEY
    )


def build_archive(files: Sequence[SampleFile], storage: ObjectStorage, bucket: str) -> str:
    """Build an archive and return its key."""
    request = BuildRequest(
        job_id=str(uuid.uuid4()),
        fencing_token=1,
        file_ids=tuple(sample.file_id for sample in files),
        file_name=None,
        on_missing=OnMissing.FAIL,
        bucket=bucket,
        direct_single_file=False,
        max_bytes=None,
    )
    source = source_from_template("s3://files/{file_id}", storage=storage)
    return build(request, source=source, storage=storage, control=AttemptControl(deadline=60)).key
