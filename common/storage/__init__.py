"""The object storage: data calls, bucket set-up and links behind two small classes."""

from common.storage.documents import Listed, ObjectInfo, Part, Upload
from common.storage.errors import BadChecksum, ObjectMissing, UploadMissing
from common.storage.stop import Stop, Stopped
from common.storage.store import ObjectStore

__all__ = [
    "BadChecksum",
    "Listed",
    "ObjectInfo",
    "ObjectMissing",
    "ObjectStore",
    "Part",
    "Stop",
    "Stopped",
    "Upload",
    "UploadMissing",
]
