"""The sample catalogue: twenty real files in the bucket ``files``, ids 10001 to 10020."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.header import Header
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from stack import sample_files
from stack.sample_files import KIB, MIB, Recipe
from stack.services import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

BUCKET = "files"

#: An id in the valid range that the catalogue never holds.
MISSING_ID = 10404

#: Stored with every object. Raise it when a recipe changes, so that old objects are made anew.
EDITION = "2"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One file of the catalogue and how its bytes are made."""

    file_id: int
    name: str
    content_type: str
    recipe: Recipe

    @property
    def key(self) -> str:
        return str(self.file_id)

    def make(self) -> bytes:
        """The file's bytes: the same at every call, on every machine with the same libraries."""
        return self.recipe(random.Random(self.file_id))


def _sample(file_id: int, name: str, content_type: str, recipe: Recipe) -> Sample:
    return Sample(file_id=file_id, name=name, content_type=content_type, recipe=recipe)


_MP4 = sample_files.MP4_HEADER

CATALOG: tuple[Sample, ...] = (
    _sample(10001, "welcome.txt", "text/plain", sample_files.prose(1 * KIB)),
    _sample(10002, "settings.json", "application/json", sample_files.json_document(4 * KIB)),
    _sample(10003, "Überfahrt nach Kyōto.txt", "text/plain", sample_files.prose(64 * KIB)),
    _sample(10004, "chart.png", "image/png", sample_files.png(640, 480)),
    _sample(10005, "readings.csv", "text/csv", sample_files.csv(256 * KIB)),
    _sample(10006, "orders.json", "application/json", sample_files.json_document(1 * MIB)),
    # Two files of one name, as catalogues have them: an archive must keep both.
    _sample(10007, "harbour.jpg", "image/jpeg", sample_files.jpeg(2400, 1600)),
    _sample(10008, "harbour.jpg", "image/jpeg", sample_files.jpeg(4000, 3000)),
    _sample(10009, "survey.png", "image/png", sample_files.png(6000, 4000)),
    _sample(10010, "gateway.log", "text/plain", sample_files.log(8 * MIB)),
    _sample(10011, "readings-2026-01.csv", "text/csv", sample_files.csv(16 * MIB)),
    _sample(10012, "worker.log", "text/plain", sample_files.log(24 * MIB)),
    _sample(10013, "events.jsonl", "application/x-ndjson", sample_files.json_lines(32 * MIB)),
    _sample(
        10014,
        "gateway-2025.log.gz",
        "application/gzip",
        sample_files.gzipped(sample_files.log(12 * MIB)),
    ),
    _sample(
        10015,
        "album.zip",
        "application/zip",
        sample_files.zipped({f"photo-{n}.jpg": sample_files.jpeg(1800, 1200) for n in range(4)}),
    ),
    _sample(10016, "departure.mp4", "video/mp4", sample_files.noise(12 * MIB, header=_MP4)),
    _sample(10017, "arrival.mp4", "video/mp4", sample_files.noise(20 * MIB, header=_MP4)),
    _sample(
        10018,
        "backup.zip",
        "application/zip",
        sample_files.zipped({"ledger.db": sample_files.noise(32 * MIB)}, zipfile.ZIP_STORED),
    ),
    _sample(10019, "crossing.mp4", "video/mp4", sample_files.noise(64 * MIB, header=_MP4)),
    _sample(10020, "voyage.mp4", "video/mp4", sample_files.noise(64 * MIB, header=_MP4)),
)

#: Files under 1 MiB: enough for a test that is not about size.
SMALL: tuple[Sample, ...] = CATALOG[:6]


def s3_client(endpoint: str) -> S3Client:
    """A client for a local S3 server (stack/services.py) with all rights."""
    client: S3Client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
        config=Config(
            connect_timeout=2,
            # Also the longest time that 64 MiB may take to be sent, on a machine that is busy.
            read_timeout=120,
            retries={"total_max_attempts": 8, "mode": "standard"},
            request_checksum_calculation="when_required",
            s3={"addressing_style": "path", "payload_signing_enabled": False},
        ),
    )
    return client


def fill(client: S3Client, wanted: Sequence[Sample] = CATALOG, *, bucket: str = BUCKET) -> int:
    """Put the files that the bucket lacks into it; returns how many were made."""
    ensure_bucket(client, bucket)
    with ThreadPoolExecutor(4, thread_name_prefix="catalogue") as pool:
        # The largest come last in the catalogue and first here, so that no thread ends up waiting.
        return sum(pool.map(lambda sample: _put(client, bucket, sample), reversed(wanted)))


def ensure_bucket(client: S3Client, bucket: str) -> None:
    """Create the bucket unless it is there."""
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError:
        client.create_bucket(Bucket=bucket)


def _put(client: S3Client, bucket: str, sample: Sample) -> bool:
    if _edition(client, bucket, sample) == EDITION:
        return False
    client.put_object(
        Bucket=bucket,
        Key=sample.key,
        Body=sample.make(),
        ContentType=sample.content_type,
        # As the S3 clients of today do by themselves: whoever reads it can tell false bytes.
        ChecksumAlgorithm="CRC32",
        Metadata={"filename": metadata_text(sample.name), "edition": EDITION},
    )
    return True


def _edition(client: S3Client, bucket: str, sample: Sample) -> str | None:
    try:
        return client.head_object(Bucket=bucket, Key=sample.key)["Metadata"].get("edition")
    except ClientError:
        return None


def metadata_text(name: str) -> str:
    """A name as S3 keeps it in user metadata: ASCII as it is, all else as an RFC 2047 word."""
    return name if name.isascii() else Header(name, "utf-8", maxlinelen=998).encode()
