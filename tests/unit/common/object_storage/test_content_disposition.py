"""Writing and parsing Content-Disposition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.object_storage.content_disposition import attachment, object_name, parse_filename
from common.object_storage.s3_xml import ObjectInfo


def test_a_unicode_name_has_a_fallback_for_old_clients() -> None:
    assert attachment("Übersicht 2026.zip") == (
        "attachment; filename=\"Ubersicht 2026.zip\"; filename*=UTF-8''%C3%9Cbersicht%202026.zip"
    )
    assert attachment("空.zip") == "attachment; filename=\".zip\"; filename*=UTF-8''%E7%A9%BA.zip"


@given(st.text(min_size=1, max_size=100))
def test_the_header_of_any_name_is_one_line_of_ascii_and_reads_back(name: str) -> None:
    header = attachment(name)
    assert header.isascii()
    assert header.isprintable()
    clean = "".join(
        c for c in name if c.isprintable() or (ord(c) > 0x9F and not 0xD800 <= ord(c) < 0xE000)
    )
    assert parse_filename(header) == (clean or "download")


@pytest.mark.parametrize(("header", "name"), [
    ('attachment; filename="plain.txt"', "plain.txt"),
    ("attachment; filename=token.txt", "token.txt"),
    ('inline; filename="with \\"quotes\\".txt"', 'with "quotes".txt'),
    ("attachment; filename=\"x\"; filename*=UTF-8''%e2%82%ac.txt", "€.txt"),
    ("attachment; filename*=ISO-8859-1''%a3.txt", "£.txt"),
    ("attachment; filename*=unknown''%a3.txt; filename=\"y\"", "y"),
    ('attachment; filename="=?utf-8?B?w7xiZXIudHh0?="', "über.txt"),
    ("attachment", None),
    # RFC 6266, 4.1: parameters are compared by their whole name.
    ('attachment; xfilename="wrong"; filename="right"', "right"),
    ('attachment; xfilename="wrong"', None),
    ("attachment; x-filename*=UTF-8''wrong; FileName = right", "right"),
    ('attachment; comment="a; filename=wrong.txt"; filename="right"', "right"),
    ('attachment; filename="a; b=c.txt"', "a; b=c.txt"),
    ('filename="no type.txt"', "no type.txt"),
    ('attachment; filename="unterminated.txt', "unterminated.txt"),
    ('attachment; filename=""; filename*=', None),
    ("attachment; filename=with spaces.txt; size=3", "with spaces.txt"),
    # RFC 8187, 3.2.1: an invalid ext-value is ignored.
    ("attachment; filename*=UTF-8''%e2%8; filename=\"y\"", "y"),
    ("attachment; filename*=UTF-8''%ff; filename=\"y\"", "y"),
    ("attachment; filename*=plain.txt; filename=\"y\"", "y"),
    ("attachment; filename*=UTF-8''a b.txt; filename=\"y\"", "y"),
    ("attachment; filename*=rot13''nop; filename=\"y\"", "y"),
    ("attachment; filename*=undefined''nop; filename=\"y\"", "y"),
    # RFC 2047 words do not belong here; those that are broken are text.
    ('attachment; filename="=?utf-8?B?w7x?="', "\u00fc"),
    ('attachment; filename="=?utf-8?B?A?="', "=?utf-8?B?A?="),
    ('attachment; filename="=?none?Q?a?="', "=?none?Q?a?="),
    ('attachment; filename="=?utf-8?Q?=ff?="', "=?utf-8?Q?=ff?="),
    ('attachment; filename="=?"', "=?"),
    # Half a character.
    ('attachment; filename="=?utf-7?q?+2AA-?="', "?"),
    ('attachment; filename="=?unicode_escape?q?=5Cud800?="', "?"),
    ('attachment; filename="=?\u00e9?q?a?="', "=?\u00e9?q?a?="),
    ('attachment; filename="\u00c3\u00bc.txt"', "\u00fc.txt"),
])  # fmt: skip
def test_filename_is_found_in_headers_that_servers_send(header: str, name: str | None) -> None:
    assert parse_filename(header) == name


@pytest.mark.parametrize(("metadata", "disposition", "name"), [
    ({"filename": "=?UTF-8?Q?caf=C3=A9.txt?="}, None, "café.txt"),
    ({"filename": "caf%C3%A9.txt"}, None, "café.txt"),
    ({"filename": "100%.txt"}, None, "100%.txt"),
    ({"filename": "caf\u00c3\u00a9.txt"}, None, "café.txt"),
    ({}, 'attachment; filename="d.txt"', "d.txt"),
    ({}, None, "key.bin"),
])  # fmt: skip
def test_object_name_comes_from_metadata_then_disposition_then_key(
    metadata: dict[str, str], disposition: str | None, name: str
) -> None:
    info = ObjectInfo(
        key="some/key.bin", size=0, etag="", modified=None, content_type=None,
        metadata=metadata, content_disposition=disposition, crc32=None,
    )  # fmt: skip
    assert object_name(info) == name


@given(st.text(max_size=200))
def test_no_header_makes_parsing_fail(text: str) -> None:
    for header in (text, f"attachment; {text}", f"attachment; filename={text}; filename*={text}"):
        parsed = parse_filename(header)
        assert parsed is None or parsed
    for word in (f"=?{text}?=", f"=?utf-8?b?{text}?=", f"=?utf-8?q?{text}?=", f"%{text}"):
        parse_filename(f'attachment; filename="{word}"')


@pytest.mark.timeout(5)
@pytest.mark.parametrize("part", ["=?a?q?x", "; a", ';a="', "%", '\\"', "=?", " ", "%e2%82"])
def test_long_headers_take_little_time(part: str) -> None:
    # The standard library's pattern for encoded words takes a minute for this (CWE-1333).
    parse_filename(f'attachment; filename="{part * (256_000 // len(part))}"')
