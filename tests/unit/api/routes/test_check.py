"""POST /check describes files as the worker does: credentials, redirects, sources without HEAD."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from api.routes import downloads
from tests.support.http_origin import Origin, Page


@pytest.fixture
def origin() -> Iterator[Origin]:
    origin = Origin()
    yield origin
    origin.close()


@pytest.fixture
def client_for(make_app, origin):
    """Return a client of an API whose files are at the origin."""

    def make(**settings):
        template = settings.pop("template", f"{origin.url}/{{file_id}}")
        return make_app(source_url_template=template, **settings).test_client()

    return make


def check(client):
    return client.post("/v1/download/check", json={"file_id": 7})


def test_check_describes_a_file_by_its_headers(client_for, origin):
    name = 'attachment; filename="letter.txt"'
    origin.pages["/7"] = Page(b"12345", headers={"content-disposition": name})
    response = check(client_for())
    assert response.json == {
        "file_id": 7, "available": True, "size": 5, "fileName": "letter.txt",
    }  # fmt: skip


def test_check_authenticates_at_the_source(client_for, origin):
    origin.pages["/7"] = Page(b"12345")
    assert check(client_for(source_authorization="Bearer secret")).json["available"] is True
    assert {h["authorization"] for _, _, h in origin.requests} == {"Bearer secret"}


def test_check_finds_a_file_at_a_source_that_rejects_head(client_for, origin):
    origin.pages["/7"] = Page(b"12345", supports_head=False)
    assert check(client_for()).json["size"] == 5


def test_check_follows_redirects_to_allowed_hosts_only(client_for, origin):
    other = Origin()
    try:
        origin.pages["/7"] = Page(b"", redirect=f"{other.url}/there.txt")
        other.pages["/there.txt"] = Page(b"12345")
        assert check(client_for()).json["available"] is False
        assert other.requests == []
        response = check(client_for(source_redirect_hosts=other.host))
        assert (response.json["available"], response.json["fileName"]) == (True, "there.txt")
    finally:
        other.close()


@pytest.mark.parametrize("status", [403, 404, 410, 400])
def test_check_reports_a_file_that_the_source_does_not_deliver(client_for, origin, status):
    origin.pages["/7"] = Page(b"12345", error_statuses=[status] * 2)
    response = check(client_for())
    assert (response.status_code, response.json["available"]) == (200, False)


def test_check_survives_a_file_name_that_cannot_be_decoded(client_for, origin):
    broken = 'attachment; filename="=?utf-8?B?A?="'
    origin.pages["/7"] = Page(b"12345", headers={"content-disposition": broken})
    assert check(client_for()).json["fileName"] == "=?utf-8?B?A?="


@pytest.mark.parametrize("status", [500, 503, 429])
def test_check_reports_a_source_that_is_unavailable(client_for, origin, status):
    origin.pages["/7"] = Page(b"12345", error_statuses=[status] * 50)
    client = client_for()
    began = time.monotonic()
    response = check(client)
    assert (response.status_code, response.json["code"]) == (503, "BACKEND_UNAVAILABLE")
    assert time.monotonic() - began < 2.2


def test_check_gives_up_a_source_that_does_not_respond(client_for):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        template = f"http://127.0.0.1:{silent.getsockname()[1]}/{{file_id}}"
        client = client_for(template=template)
        began = time.monotonic()
        response = check(client)
        assert (response.status_code, response.json["code"]) == (503, "BACKEND_UNAVAILABLE")
        assert time.monotonic() - began < 2.2


def test_check_gives_up_a_source_that_cannot_be_reached(client_for):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    client = client_for(template=f"http://127.0.0.1:{port}/{{file_id}}")
    began = time.monotonic()
    response = check(client)
    assert (response.status_code, response.json["code"]) == (503, "BACKEND_UNAVAILABLE")
    assert time.monotonic() - began < 2.2


def test_check_of_several_files_returns_a_list_in_their_order(client_for, origin):
    origin.pages["/9"] = Page(b"123456789")
    origin.pages["/7"] = Page(b"1234567")
    client = client_for()
    response = client.post("/v1/download/check", json={"file_ids": [9, 8, 7, 9]})
    rows = [(row["file_id"], row["available"], row["size"]) for row in response.json]
    assert rows == [(9, True, 9), (8, False, None), (7, True, 7)]
    single = client.post("/v1/download/check", json={"file_ids": [9]})
    assert [row["file_id"] for row in single.json] == [9]


def test_check_counts_as_one_request_per_ten_files(client_for, origin):
    origin.pages["/7"] = Page(b"1")
    client = client_for()
    remaining = [
        int(
            client.post("/v1/download/check", json={"file_ids": list(range(1, count + 1))}).headers[
                "RateLimit-Remaining"
            ]
        )
        for count in (1, 10, 11, 100)
    ]
    assert remaining == [5999, 5998, 5996, 5986]


def test_checks_at_the_same_time_are_limited_per_address(client_for):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        template = f"http://127.0.0.1:{silent.getsockname()[1]}/{{file_id}}"
        client = client_for(template=template)
        with ThreadPoolExecutor(12) as pool:
            responses = list(pool.map(lambda _: check(client), range(12)))
        codes = sorted(response.json["code"] for response in responses)
    assert codes == ["BACKEND_UNAVAILABLE"] * 8 + ["RATE_LIMIT_EXCEEDED"] * 4


def test_the_checks_of_one_client_share_slots_and_take_none_from_others(client_for, monkeypatch):
    monkeypatch.setattr(downloads, "MAX_LOOKUPS", 2)

    def look_for(address):
        body = {"file_ids": list(range(1, 9))}
        client.post("/v1/download/check", json=body, environ_base={"REMOTE_ADDR": address})

    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        ExitStack() as open_connections,
        ThreadPoolExecutor(3) as pool,
    ):

        def accept():
            open_connections.enter_context(silent.accept()[0])

        template = f"http://127.0.0.1:{silent.getsockname()[1]}/{{file_id}}"
        client = client_for(template=template)
        pool.submit(look_for, "192.0.2.1")
        pool.submit(look_for, "192.0.2.1")
        silent.settimeout(5)
        accept()
        accept()
        silent.settimeout(0.2)
        with pytest.raises(TimeoutError):
            accept()
        pool.submit(look_for, "192.0.2.2")
        silent.settimeout(5)
        accept()


def test_check_of_1000_files(client_for, origin):
    for number in range(1, 1001):
        origin.pages[f"/{number}"] = Page(b"x")
    response = client_for().post("/v1/download/check", json={"file_ids": list(range(1, 1001))})
    assert sum(row["available"] for row in response.json) == 1000


@pytest.mark.parametrize(
    "body", [{}, {"file_ids": []}, {"file_id": 1, "file_ids": [1]}, {"file_ids": list(range(1001))}]
)
def test_check_rejects_invalid_bodies(client_for, body):
    response = client_for().post("/v1/download/check", json=body)
    assert (response.status_code, response.json["code"]) == (400, "VALIDATION_ERROR")
