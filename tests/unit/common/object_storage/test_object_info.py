"""What a HEAD response says about an object."""

from __future__ import annotations

import base64
import hashlib

import pytest

from common.object_storage.s3_xml import object_info

DIGEST = hashlib.sha256(b"content")
ENCODED = base64.b64encode(DIGEST.digest()).decode()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-amz-checksum-sha256": ENCODED}, DIGEST.hexdigest()),
        (
            {"x-amz-checksum-sha256": ENCODED, "x-amz-checksum-type": "FULL_OBJECT"},
            DIGEST.hexdigest(),
        ),
        # Of an object that was uploaded in parts, it is the digest of the parts' digests.
        ({"x-amz-checksum-sha256": f"{ENCODED}-7"}, None),
        ({"x-amz-checksum-sha256": ENCODED, "x-amz-checksum-type": "COMPOSITE"}, None),
        ({"x-amz-checksum-sha256": "AAAAAA=="}, None),
        ({"x-amz-checksum-sha256": "?"}, None),
        ({}, None),
    ],
)
def test_the_sha256_of_the_whole_object_is_known_if_it_is_stored(
    headers: dict[str, str], expected: str | None
) -> None:
    assert object_info("key", {"content-length": "7", **headers}).sha256 == expected
