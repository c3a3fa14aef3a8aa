"""DELIVERY=proxy: nginx sends the archive, and nothing leads clients to the object storage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from common.errors import LinkGone
from common.job_store import download_links
from common.job_store.download_links import DownloadLinks
from common.jobs.model import Artifact
from common.settings import SettingError
from tests.unit.api.auth.test_authorization import SECRET, bearer
from tests.unit.api.conftest import Worker

PROXY = {
    "delivery": "proxy",
    "public_url": "https://longhaul.example",
    "ticket_secret": "secret",
    "trusted_proxies": 1,
}
#: What nginx adds to every request.
NGINX = {"X-Storage-Host": "storage.internal:9000"}
TARGET = (
    "/.storage?archives/ab/cd.zip?method={method}&name=files.zip&type=application/zip&expires=600"
)


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app(**PROXY).test_client()


@pytest.fixture
def job_id(post: Callable[..., Any], worker: Worker) -> str:
    job_id: str = post().json["jobId"]
    worker.complete(job_id)
    return job_id


@pytest.fixture
def link(client: FlaskClient, job_id: str) -> Callable[..., str]:
    def create(**body: Any) -> str:
        response = client.post(f"/v1/download/{job_id}/links", json=body)
        url: str = response.json["url"]
        return url.removeprefix(PROXY["public_url"])

    return create


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_result_sends_nginx_to_the_signed_url(
    client: FlaskClient, job_id: str, method: str
) -> None:
    response = client.open(f"/v1/download/{job_id}", method=method, headers=NGINX)
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["X-Accel-Redirect"] == TARGET.format(method=method)
    # nginx would keep it, although the archive may have another one.
    assert "Content-Type" not in response.headers
    assert "Location" not in response.headers
    assert response.headers["Cache-Control"] == "no-store"


def test_a_link_sends_nginx_to_the_signed_url_with_its_own_name(
    client: FlaskClient, link: Callable[..., str]
) -> None:
    response = client.get(link(fileName="mine.zip"), headers=NGINX)
    assert response.status_code == 200
    assert "name=mine.zip&" in response.headers["X-Accel-Redirect"]


def test_no_url_of_a_job_leads_to_the_storage(client: FlaskClient, job_id: str) -> None:
    as_json = {"Accept": "application/json", **NGINX}
    for path in (f"/v1/download/status/{job_id}", f"/v1/download/{job_id}"):
        body = client.get(path, headers=as_json).json
        start = f"https://longhaul.example/v1/download/{job_id}?ticket="
        assert body["downloadUrl"].startswith(start)
        assert body["expiresAt"]
    listed = client.get("/v1/download/jobs", headers=NGINX).json["jobs"]
    assert listed[0]["downloadUrl"].startswith("https://longhaul.example/")


def test_the_url_of_a_job_works_without_a_token(
    make_app: Callable[..., Flask], worker: Worker
) -> None:
    client = make_app(
        **PROXY, auth_mode="jwt", jwt_secret=SECRET, jwt_audience="longhaul"
    ).test_client()
    job = client.post(
        "/v1/download/initiate", json={"file_ids": [1, 2]}, headers=bearer("alice")
    ).json
    worker.complete(job["jobId"])
    status = client.get(f"/v1/download/status/{job['jobId']}", headers=bearer("alice")).json
    for url in (status["downloadUrl"], job["resultUrl"]):
        path = url.removeprefix("https://longhaul.example")
        assert client.get(path, headers=NGINX).status_code == 200
    assert client.get(f"/v1/download/{job['jobId']}", headers=NGINX).status_code == 401


@pytest.mark.parametrize(
    "headers", [{}, {"X-Storage-Host": ""}, {"X-Storage-Host": "another.host:9000"}]
)
def test_without_an_nginx_that_can_deliver_the_response_is_501(
    client: FlaskClient, job_id: str, link: Callable[..., str], headers: dict[str, str]
) -> None:
    for path in (f"/v1/download/{job_id}", link(maxUses=1)):
        for method in ("GET", "HEAD"):
            response = client.open(path, method=method, headers=headers)
            assert response.status_code == 501
            assert "X-Accel-Redirect" not in response.headers
        problem = client.get(path, headers=headers).json
        assert (problem["code"], problem["retryable"]) == ("DELIVERY_UNAVAILABLE", False)
        assert "nginx" in problem["detail"]
        assert "storage.internal" not in str(problem)
    assert client.get(f"/v1/download/status/{job_id}").json["downloads"] == 0


def test_the_header_of_nginx_is_not_believed_where_no_proxy_is_trusted(
    make_app: Callable[..., Flask], job_id: str
) -> None:
    client = make_app(**{**PROXY, "trusted_proxies": 0}).test_client()
    response = client.get(f"/v1/download/{job_id}", headers=NGINX)
    assert response.status_code == 501
    assert "X-Accel-Redirect" not in response.headers


def test_with_redirects_the_header_of_nginx_changes_nothing(
    make_app: Callable[..., Flask], job_id: str
) -> None:
    client = make_app(trusted_proxies=1).test_client()
    response = client.get(f"/v1/download/{job_id}", headers=NGINX)
    assert response.status_code == 302
    assert "X-Accel-Redirect" not in response.headers


def test_a_job_without_an_archive_says_why(
    client: FlaskClient, post: Callable[..., Any], worker: Worker
) -> None:
    job_id = post().json["jobId"]
    assert client.get(f"/v1/download/{job_id}", headers=NGINX).json["code"] == "JOB_NOT_READY"
    worker.fail(job_id)
    assert client.get(f"/v1/download/{job_id}", headers=NGINX).json["code"] == "JOB_FAILED"


def test_line_breaks_in_names_reach_no_header(
    client: FlaskClient, post: Callable[..., Any], worker: Worker
) -> None:
    """The real storage encodes names; this one does not, and then there is no response."""
    job_id = post().json["jobId"]
    name = "a\r\nX-Accel-Redirect: /.storage?secrets/x"
    worker.complete(
        job_id, Artifact(bucket="b", key="k", name=name, size=1, content_type="a/b", checksum=None)
    )
    response = client.get(f"/v1/download/{job_id}", headers=NGINX)
    assert response.status_code == 500
    assert "X-Accel-Redirect" not in response.headers


@pytest.mark.parametrize(
    ("value", "counted"),
    [
        (None, True),
        ("bytes=0-", True),
        ("bytes=0-99", True),
        ("bytes=00-", True),
        # Not a valid range, so the storage sends everything (RFC 9110, 14.2).
        ("bytes=x", True),
        ("bytes=", True),
        ("bytes=-", True),
        ("nonsense", True),
        ("bytes=1-", False),
        ("bytes=1000-1999", False),
        ("bytes=-500", False),
        ("BYTES=7-", False),
    ],
)
def test_requests_for_the_rest_of_an_archive_are_not_counted(
    client: FlaskClient, job_id: str, value: str | None, counted: bool
) -> None:
    headers = NGINX if value is None else {**NGINX, "Range": value}
    assert client.get(f"/v1/download/{job_id}", headers=headers).status_code == 200
    assert client.get(f"/v1/download/status/{job_id}").json["downloads"] == int(counted)


def _get(client: FlaskClient, path: str, address: str, byte: int = 0) -> int:
    headers = {**NGINX, "X-Forwarded-For": address, "Range": f"bytes={byte}-"}
    return client.get(path, headers=headers).status_code


def test_a_used_up_link_still_continues_the_downloads_that_it_started(
    client: FlaskClient, link: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without nginx, clients would continue at the signed URL that they were redirected to."""
    path = link(maxUses=2)
    assert [_get(client, path, f"192.0.2.{number}") for number in (1, 2, 3)] == [200, 200, 410]
    monkeypatch.setattr(download_links, "SAME_DOWNLOAD", 0.0)
    assert [_get(client, path, f"192.0.2.{number}", 500) for number in (1, 2, 3)] == [200, 200, 410]
    # It is another download from the beginning.
    assert _get(client, path, "192.0.2.1") == 410


def test_a_download_is_continued_for_a_limited_time(
    link: Callable[..., str], redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_links, "SAME_DOWNLOAD", 0.0)
    links = DownloadLinks(redis, continued_for=0.0)
    found = links.find(link(maxUses=1).removeprefix("/d/"))
    links.redeem(found, "192.0.2.1")
    DownloadLinks(redis, continued_for=60.0).redeem(found, "192.0.2.1", continues=True)
    with pytest.raises(LinkGone):
        links.redeem(found, "192.0.2.1", continues=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"delivery": "nginx"}, "DELIVERY must be"),
        ({"public_url": ""}, "requires PUBLIC_URL"),
        ({"ticket_secret": ""}, "requires TICKET_SECRET"),
    ],
)
def test_settings_that_do_not_fit_are_named(
    make_app: Callable[..., Flask], changes: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        make_app(**{**PROXY, **changes})
