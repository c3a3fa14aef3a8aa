"""The sample catalog: twenty files in the bucket ``files`` with the ids 10001 to 10020."""

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

#: A valid id for which the catalog has no file.
MISSING_ID = 10404

#: Stored with every object. Increase it when a recipe changes, so that objects are replaced.
EDITION = "3"


@dataclass(frozen=True, kw_only=True)
class SampleFile:
    """One file of the catalog and the recipe for its content."""

    file_id: int
    name: str
    content_type: str
    recipe: Recipe

    @property
    def key(self) -> str:
        return str(self.file_id)

    def make(self) -> bytes:
        """Return the content: the same in every call and on every machine with these libraries."""
        return self.recipe(random.Random(self.file_id))


def _sample(file_id: int, name: str, content_type: str, recipe: Recipe) -> SampleFile:
    return SampleFile(file_id=file_id, name=name, content_type=content_type, recipe=recipe)


_MP4 = sample_files.MP4_HEADER

CATALOG: tuple[SampleFile, ...] = (
    _sample(10001, "welcome.txt", "text/plain", sample_files.prose(1 * KIB)),
    _sample(10002, "settings.json", "application/json", sample_files.json_document(4 * KIB)),
    _sample(10003, "Überfahrt nach Kyōto.txt", "text/plain", sample_files.prose(64 * KIB)),
    _sample(10004, "chart.png", "image/png", sample_files.png(640, 480)),
    _sample(10005, "readings.csv", "text/csv", sample_files.csv(256 * KIB)),
    _sample(10006, "orders.json", "application/json", sample_files.json_document(1 * MIB)),
    # Real catalogs contain two files with the same name: an archive must keep both.
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
        sample_files.zipped({"accounts.db": sample_files.noise(32 * MIB)}, zipfile.ZIP_STORED),
    ),
    _sample(10019, "crossing.mp4", "video/mp4", sample_files.noise(64 * MIB, header=_MP4)),
    _sample(10020, "voyage.mp4", "video/mp4", sample_files.noise(64 * MIB, header=_MP4)),
)

#: Files of up to 1 MiB, for tests that are not about size.
SMALL: tuple[SampleFile, ...] = CATALOG[:6]


def s3_client(endpoint: str) -> S3Client:
    """Return a boto3 client with all permissions for a local S3 server (stack/services.py)."""
    client: S3Client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
        config=Config(
            connect_timeout=2,
            # Also limits the time to send 64 MiB, which can be long on a busy machine.
            read_timeout=120,
            retries={"total_max_attempts": 8, "mode": "standard"},
            request_checksum_calculation="when_required",
            s3={"addressing_style": "path", "payload_signing_enabled": False},
        ),
    )
    return client


def fill(client: S3Client, wanted: Sequence[SampleFile] = CATALOG, *, bucket: str = BUCKET) -> int:
    """Upload the files that the bucket lacks. Return how many there were."""
    ensure_bucket(client, bucket)
    with ThreadPoolExecutor(4, thread_name_prefix="sample-catalog") as pool:
        # Largest files first (they are last in the catalog), to keep all threads busy.
        return sum(
            pool.map(
                lambda sample: _upload_unless_current(client, bucket, sample), reversed(wanted)
            )
        )


def ensure_bucket(client: S3Client, bucket: str) -> None:
    """Create the bucket unless it exists."""
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError:
        client.create_bucket(Bucket=bucket)


def _upload_unless_current(client: S3Client, bucket: str, sample: SampleFile) -> bool:
    if _edition(client, bucket, sample) == EDITION:
        return False
    client.put_object(
        Bucket=bucket,
        Key=sample.key,
        Body=sample.make(),
        ContentType=sample.content_type,
        # S3 clients send a checksum by default; readers can detect corrupted content with it.
        ChecksumAlgorithm="CRC32",
        Metadata={"filename": metadata_text(sample.name), "edition": EDITION},
    )
    return True


def _edition(client: S3Client, bucket: str, sample: SampleFile) -> str | None:
    try:
        return client.head_object(Bucket=bucket, Key=sample.key)["Metadata"].get("edition")
    except ClientError:
        return None


def metadata_text(name: str) -> str:
    """Return a file name for S3 user metadata: as an RFC 2047 word unless it is ASCII."""
    return name if name.isascii() else Header(name, "utf-8", maxlinelen=998).encode()
