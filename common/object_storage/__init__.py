"""S3: object and multipart upload operations, bucket setup, and presigned links."""

from common.object_storage.aws_chunked import BLOCK_SIZE, PartStream
from common.object_storage.cancellation import Cancellation, Cancelled
from common.object_storage.client import ObjectStorage
from common.object_storage.errors import BadChecksum, CredentialsError, NoSuchKey, NoSuchUpload
from common.object_storage.profile import StorageProfile
from common.object_storage.s3_xml import (
    ListedObject,
    MultipartUpload,
    ObjectInfo,
    ObjectPage,
    UploadedPart,
)

__all__ = [
    "BLOCK_SIZE",
    "BadChecksum",
    "Cancellation",
    "Cancelled",
    "CredentialsError",
    "ListedObject",
    "MultipartUpload",
    "NoSuchKey",
    "NoSuchUpload",
    "ObjectInfo",
    "ObjectPage",
    "ObjectStorage",
    "PartStream",
    "StorageProfile",
    "UploadedPart",
]
