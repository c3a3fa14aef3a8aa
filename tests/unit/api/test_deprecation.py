"""The headers that announce the removal of the synchronous call."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from api.deprecation import Deprecation
from common.settings import SettingError

START = "/v1/download/start"
NAMES = ("Deprecation", "Sunset", "Link")


def test_deprecation_is_a_date_of_structured_fields_and_sunset_an_http_date() -> None:
    # RFC 9745, 2.1 and RFC 8594, 3; the link relation is that of RFC 9745, 3.
    deprecation = Deprecation.parse("2023-06-30T23:59:59Z", "2024-06-30T23:59:59", "https://a.b/c")
    assert deprecation.headers() == [
        ("Deprecation", "@1688169599"),
        ("Sunset", "Sun, 30 Jun 2024 23:59:59 GMT"),
        ("Link", '<https://a.b/c>; rel="deprecation"; type="text/html"'),
    ]


def test_times_may_have_an_offset_or_no_time_of_day() -> None:
    assert Deprecation.parse("1970-01-01T02:00:00+02:00", "", "").headers() == [
        ("Deprecation", "@0")
    ]
    assert Deprecation.parse("", "1970-01-02", "").headers() == [
        ("Sunset", "Fri, 02 Jan 1970 00:00:00 GMT")
    ]


def test_nothing_is_announced_by_default() -> None:
    assert Deprecation.parse("", "", "https://a.b/c").headers() == []


@pytest.mark.parametrize(
    ("since", "sunset", "url"),
    [
        ("soon", "", ""),
        ("", "2026-13-01", ""),
        # RFC 9745, 4: the sunset must not be earlier than the deprecation.
        ("2026-02-01", "2026-01-01", ""),
        ("2026-02-01", "", "https://a.b/\r\nX-Injected: 1"),
        ("2026-02-01", "", "https://a.b/>; rel=x"),
    ],
)
def test_wrong_settings_stop_the_start(
    make_app: Callable[..., Flask], since: str, sunset: str, url: str
) -> None:
    with pytest.raises(SettingError, match="START_SUNSET"):
        make_app(start_deprecated_since=since, start_sunset=sunset, start_deprecation_url=url)


def test_every_response_of_the_synchronous_call_has_the_headers(
    make_app: Callable[..., Flask],
) -> None:
    app = make_app(
        start_deprecated_since="2026-01-01",
        start_sunset="2027-01-01",
        start_deprecation_url="https://example.com/migrating",
        request_timeout=0,
        cors_origins="https://page.example",
    )
    client = app.test_client()
    for body in ({"file_id": 1}, {"file_id": "x"}):
        response = client.post(START, json=body, headers={"Origin": "https://page.example"})
        assert all(name in response.headers for name in NAMES), response.status
        exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
        assert set(NAMES) <= set(exposed)
    for path in ("/v1/download/initiate", "/v1/download/check"):
        response = client.post(path, json={"file_id": 1})
        assert not any(name in response.headers for name in NAMES)


def test_by_default_the_synchronous_call_is_not_deprecated(make_app: Callable[..., Flask]) -> None:
    response = make_app(request_timeout=0).test_client().post(START, json={"file_id": 1})
    assert response.status_code == 202
    assert not any(name in response.headers for name in NAMES)
