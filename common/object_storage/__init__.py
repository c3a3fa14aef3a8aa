"""The object storage: data calls, bucket set-up and links behind two small classes."""

from common.object_storage.cancellation import Cancellation, Cancelled
from common.object_storage.client import ObjectStore
from common.object_storage.errors import BadChecksum, NoSuchKey, NoSuchUpload
from common.object_storage.s3_xml import Listed, MultipartUpload, ObjectInfo, UploadedPart

__all__ = [
    "BadChecksum",
    "Cancellation",
    "Cancelled",
    "Listed",
    "MultipartUpload",
    "NoSuchKey",
    "NoSuchUpload",
    "ObjectInfo",
    "ObjectStore",
    "UploadedPart",
]
