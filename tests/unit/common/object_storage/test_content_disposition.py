"""Content-Disposition, both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.object_storage.content_disposition import attachment, filename_of, object_name
from common.object_storage.s3_xml import ObjectInfo


def test_a_unicode_name_has_a_fallback_for_old_clients() -> None:
    assert attachment("Übersicht 2026.zip") == (
        "attachment; filename=\"Ubersicht 2026.zip\"; filename*=UTF-8''%C3%9Cbersicht%202026.zip"
    )
    assert attachment("空.zip") == "attachment; filename=\".zip\"; filename*=UTF-8''%E7%A9%BA.zip"


@given(st.text(min_size=1, max_size=100))
def test_whatever_the_name_the_header_is_one_line_of_ascii_and_reads_back(name: str) -> None:
    header = attachment(name)
    assert header.isascii()
    assert header.isprintable()
    clean = "".join(
        c for c in name if c.isprintable() or (ord(c) > 0x9F and not 0xD800 <= ord(c) < 0xE000)
    )
    assert filename_of(header) == (clean or "download")


@pytest.mark.parametrize(("header", "name"), [
    ('attachment; filename="plain.txt"', "plain.txt"),
    ("attachment; filename=token.txt", "token.txt"),
    ('inline; filename="with \\"quotes\\".txt"', 'with "quotes".txt'),
    ("attachment; filename=\"x\"; filename*=UTF-8''%e2%82%ac.txt", "€.txt"),
    ("attachment; filename*=ISO-8859-1''%a3.txt", "£.txt"),
    ("attachment; filename*=unknown''%a3.txt; filename=\"y\"", "y"),
    ('attachment; filename="=?utf-8?B?w7xiZXIudHh0?="', "über.txt"),
    ("attachment", None),
])  # fmt: skip
def test_a_name_is_found_in_what_servers_send(header: str, name: str | None) -> None:
    assert filename_of(header) == name


@pytest.mark.parametrize(("metadata", "disposition", "name"), [
    ({"filename": "=?UTF-8?Q?caf=C3=A9.txt?="}, None, "café.txt"),
    ({"filename": "caf%C3%A9.txt"}, None, "café.txt"),
    ({"filename": "100%.txt"}, None, "100%.txt"),
    ({"filename": "caf\u00c3\u00a9.txt"}, None, "café.txt"),
    ({}, 'attachment; filename="d.txt"', "d.txt"),
    ({}, None, "key.bin"),
])  # fmt: skip
def test_an_object_is_called_by_its_metadata_its_disposition_or_its_key(
    metadata: dict[str, str], disposition: str | None, name: str
) -> None:
    info = ObjectInfo(
        key="some/key.bin", size=0, etag="", modified=None, content_type=None,
        metadata=metadata, content_disposition=disposition, crc32=None,
    )  # fmt: skip
    assert object_name(info) == name
