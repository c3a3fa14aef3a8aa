"""The bytes of server-sent events."""

from __future__ import annotations

import json

import pytest

from api.live import sse


def fields_of(message: bytes) -> list[tuple[str, str]]:
    """Return field and value of each line, as a browser parses them."""
    lines = message.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [
        (line.partition(":")[0], line.partition(":")[2].removeprefix(" ")) for line in lines if line
    ]


def test_named_event_has_name_version_and_data() -> None:
    message = sse.message('{"a":1}', event="progress", version=7)
    assert message == b'event: progress\nid: 7\ndata: {"a":1}\n\n'


def test_unnamed_event_has_no_event_field() -> None:
    assert sse.message("{}", event=None, version=1) == b"id: 1\ndata: {}\n\n"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\n\n", "\r\r", "\n\r"])
def test_line_ends_in_data_neither_end_the_event_nor_forge_a_field(end: str) -> None:
    data = f"one{end}event: completed{end}id: 99"
    found = fields_of(sse.message(data, event="progress", version=3))
    assert [value for name, value in found if name == "event"] == ["progress"]
    assert [value for name, value in found if name == "id"] == ["3"]
    assert {name for name, _ in found} == {"event", "id", "data"}
    assert sse.message(data, event=None, version=3).count(b"\n\n") == 1


@pytest.mark.parametrize("name", ["a\nid: 9", "a\rdata: x", "a\0b", "completed\r\n"])
def test_event_name_with_a_line_end_or_nul_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="CR, LF or NUL"):
        sse.message("{}", event=name, version=1)


def test_nul_in_data_is_sent_as_data() -> None:
    text = json.dumps({"a": "\0"})
    assert sse.message(text, event=None, version=1).endswith(b'data: {"a": "\\u0000"}\n\n')


@pytest.mark.parametrize(
    ("header", "parameter", "version"),
    [
        ("7", None, 7),
        (None, "8", 8),
        ("7", "8", 7),
        ("", "8", 8),
        (None, None, None),
        ("-1", None, None),
        ("1\r\n2", None, None),
        ("seven", None, None),
        ("7\0", None, None),
        ("\u0667", None, None),
        ("9" * 400, None, None),
    ],
)
def test_last_event_id_is_a_version_or_none(
    header: str | None, parameter: str | None, version: int | None
) -> None:
    assert sse.last_event_id(header, parameter) == version


def test_event_without_version_has_no_id() -> None:
    assert sse.message("{}", event="connected", version=None) == b"event: connected\ndata: {}\n\n"
