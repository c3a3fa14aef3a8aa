"""The object storage: data calls, bucket set-up and links behind two small classes."""

from common.object_storage.cancellation import Cancellation, Cancelled
from common.object_storage.client import ObjectStorage
from common.object_storage.errors import BadChecksum, NoSuchKey, NoSuchUpload
from common.object_storage.s3_xml import ListedObject, MultipartUpload, ObjectInfo, UploadedPart

__all__ = [
    "BadChecksum",
    "Cancellation",
    "Cancelled",
    "ListedObject",
    "MultipartUpload",
    "NoSuchKey",
    "NoSuchUpload",
    "ObjectInfo",
    "ObjectStorage",
    "UploadedPart",
]
