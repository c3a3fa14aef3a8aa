"""Objects that are stored with a Content-Encoding, on a real S3 server."""

from __future__ import annotations

import gzip

import boto3

from stack.services import S3
from tests.integration.archive.conftest import Buckets
from tests.support.archives import RecordingControl, contents, make_request
from worker.archive import BuildOptions, build
from worker.archive.planning.layout import PartSizes

CSV = b"".join(b"%d;%d\n" % (i, i * i) for i in range(400_000))


def test_coded_objects_are_decoded_or_keep_a_name_that_says_so(s3: S3, buckets: Buckets) -> None:
    """RFC 9110, 8.4: the header is not part of an archive."""
    client = boto3.client(
        "s3", endpoint_url=s3.endpoint, region_name="us-east-1",
        aws_access_key_id=s3.access_key, aws_secret_access_key=s3.secret_key,
    )  # fmt: skip
    coded = gzip.compress(CSV, mtime=0)
    for key, name in (("1", "table.csv"), ("2", "table.csv.gz")):
        client.put_object(
            Bucket=buckets.sources, Key=key, Body=coded,
            ContentEncoding="gzip", Metadata={"filename": name},
        )  # fmt: skip
    buckets.put(3, CSV, name="plain.csv")
    for ids in ([1, 2, 3], [1], [3, 2]):
        artifact = build(
            make_request(ids, bucket=buckets.archives, direct_single_file=True),
            source=buckets.source(),
            storage=buckets.storage,
            control=RecordingControl(),
            options=BuildOptions(part_sizes=PartSizes()),
        )
        members = contents(buckets.read(artifact.key))
        expected = {1: ("table.csv", CSV), 2: ("table.csv.gz", coded), 3: ("plain.csv", CSV)}
        assert members == dict(expected[file_id] for file_id in ids)
    client.close()
