"""Tests for the production nginx configuration in front of the real API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from longhaul_client import Longhaul
from longhaul_client.watch import WatchTransport
from stack.nginx import Nginx, start_nginx
from stack.system import System
from tests.support.tcp_proxy import TcpProxy
from tests.support.websocket import messages


@pytest.fixture(scope="module")
def nginx(
    running: tuple[System, TcpProxy], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nginx]:
    system, _ = running
    upstream = urlsplit(system.base_url).netloc
    nginx = start_nginx(tmp_path_factory.mktemp("nginx"), upstream=upstream)
    yield nginx
    nginx.process.stop(5)


@pytest.fixture
def http(nginx: Nginx, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    headers = {"X-User-Id": request.node.name}
    with httpx.Client(base_url=nginx.url, headers=headers, timeout=10) as client:
        yield client


def test_urls_of_a_job_point_to_nginx(http: httpx.Client, nginx: Nginx) -> None:
    job = http.post("/v1/download/initiate", json={"file_ids": [10001, 10002]}).json()
    for member in ("statusUrl", "subscribeUrl", "resultUrl", "cancelUrl"):
        assert job[member].startswith(f"{nginx.url}/")
    assert urlsplit(job["webSocketUrl"]).netloc == urlsplit(nginx.url).netloc


@pytest.mark.parametrize("transport", list(WatchTransport))
def test_the_client_watches_a_download_through_nginx(
    nginx: Nginx, transport: WatchTransport
) -> None:
    with Longhaul(nginx.url, user=transport.name) as longhaul:
        job_id = longhaul.start([10003, 10004]).job_id
        *_, last = longhaul.watch(job_id, transports=[transport])
    assert last.status == "completed"


def test_a_websocket_through_nginx_closes_when_the_job_ends(
    http: httpx.Client, nginx: Nginx
) -> None:
    job = http.post("/v1/download/initiate", json={"file_ids": [10005, 10006]}).json()
    url = job["webSocketUrl"].replace("ws:", "http:", 1)
    types = [json.loads(message)["type"] for message in messages(url)]
    assert types[-1] in ("completed", "connected")
    assert http.get(job["statusUrl"]).json()["status"] == "completed"


def test_an_unchanged_poll_returns_304_with_and_without_compression(http: httpx.Client) -> None:
    job = http.post("/v1/download/initiate", json={"file_ids": [10001, 10003]}).json()
    with Longhaul(str(http.base_url), user="waits") as longhaul:
        longhaul.wait(job["jobId"])
    for encoding in ("gzip", "identity"):
        first = http.get(job["statusUrl"], headers={"Accept-Encoding": encoding})
        # nginx weakens the ETag of a compressed response. If-None-Match uses weak comparison.
        tag = first.headers["ETag"]
        again = http.get(job["statusUrl"], headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")


def test_error_responses_of_the_api_are_forwarded_unchanged(http: httpx.Client) -> None:
    missing = http.get("/v1/download/status/00000000-0000-4000-8000-000000000000")
    assert (missing.status_code, missing.json()["code"]) == (404, "JOB_NOT_FOUND")
    invalid = http.post("/v1/download/initiate", json={"file_ids": []})
    assert (invalid.status_code, invalid.json()["code"]) == (400, "VALIDATION_ERROR")


def test_response_headers_are_not_duplicated(http: httpx.Client) -> None:
    response = http.get("/v1/download/jobs")
    names = [name for name, _ in response.headers.multi_items()]
    assert sorted(set(names) - {"vary"}) == sorted(name for name in names if name != "vary")


def test_operator_paths_return_404_to_outside_clients(http: httpx.Client) -> None:
    assert http.get("/metrics").json()["code"] == "NOT_FOUND"
    assert http.get("/v1/admin/dead-letters").json()["code"] == "NOT_FOUND"
