"""Durable links: opaque, limited, counted and revocable."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from common.job_store import download_links
from common.job_store.download_links import DownloadLinks
from tests.unit.api.auth.test_authorization import SECRET, bearer
from tests.unit.api.conftest import Worker

Create = Callable[..., dict[str, Any]]


@pytest.fixture
def job_id(post: Callable[..., Any], worker: Worker) -> str:
    job_id: str = post().json["jobId"]
    worker.complete(job_id)
    return job_id


@pytest.fixture
def create(client: FlaskClient, job_id: str) -> Create:
    def send(**body: Any) -> dict[str, Any]:
        response = client.post(f"/v1/download/{job_id}/links", json=body)
        assert response.status_code == 201
        assert response.json["url"] == response.headers["Location"]
        return dict(response.json)

    return send


def path_of(link: dict[str, Any]) -> str:
    return "/d/" + link["url"].rpartition("/")[2]


def get(client: FlaskClient, link: dict[str, Any], address: str = "192.0.2.1") -> Any:
    return client.get(path_of(link), environ_base={"REMOTE_ADDR": address})


def test_a_link_leads_to_the_archive_without_a_token(client: FlaskClient, create: Create) -> None:
    link = create()
    assert re.fullmatch(r"http://localhost/d/[0-9a-f][\w-]{43}", link["url"])
    response = get(client, link)
    assert response.status_code == 302
    assert response.headers["Location"].startswith("https://storage.example/archives/ab/cd.zip")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"


def test_the_token_is_stored_as_a_digest_only(
    client: FlaskClient, create: Create, redis: Redis
) -> None:
    token = path_of(create())[3:]
    get(client, create())
    stored = []
    for key in redis.scan_iter():
        stored.append(key)
        kind = redis.type(key)
        if kind == "hash":
            stored.append(str(redis.hgetall(key)))
        elif kind == "set":
            stored.append(str(redis.smembers(key)))
        elif kind == "string":
            stored.append(str(redis.get(key)))
        elif kind == "stream":
            stored.append(str(redis.xrange(key)))
    assert any("link:" in text for text in stored)
    assert not any(token in text or token[1:] in text for text in stored)


def test_tokens_are_never_the_same(create: Create) -> None:
    assert len({create()["url"] for _ in range(20)}) == 20


def test_downloads_are_counted_in_the_link_and_in_the_job(
    client: FlaskClient, create: Create, job_id: str
) -> None:
    link = create()
    version = client.get(f"/v1/download/status/{job_id}").json["version"]
    for number in range(3):
        assert get(client, link, f"192.0.2.{number}").status_code == 302
    client.get(f"/v1/download/{job_id}")
    client.head(f"/v1/download/{job_id}")
    client.head(path_of(link), environ_base={"REMOTE_ADDR": "192.0.2.77"})
    (listed,) = client.get(f"/v1/download/{job_id}/links").json["links"]
    assert (listed["linkId"], listed["uses"], listed["url"]) == (link["linkId"], 3, None)
    job = client.get(f"/v1/download/status/{job_id}").json
    assert (job["downloads"], job["version"], job["status"]) == (4, version + 4, "completed")


def test_requests_from_one_address_within_a_minute_are_one_download(
    client: FlaskClient, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = create(maxUses=1)
    assert {get(client, link).status_code for _ in range(5)} == {302}
    assert get(client, link, "192.0.2.2").status_code == 410
    monkeypatch.setattr(download_links, "SAME_DOWNLOAD", 0.0)
    assert get(client, link).status_code == 410


def test_a_link_ends_after_the_last_use(client: FlaskClient, create: Create) -> None:
    link = create(maxUses=2)
    statuses = [get(client, link, f"192.0.2.{number}").status_code for number in range(4)]
    assert statuses == [302, 302, 410, 410]
    response = get(client, link, "192.0.2.9")
    assert response.json["code"] == "LINK_GONE"
    assert client.head(path_of(link)).status_code == 410


def test_a_revoked_link_ends_and_stays_in_the_list(
    client: FlaskClient, create: Create, job_id: str
) -> None:
    link, other = create(), create()
    url = f"/v1/download/{job_id}/links/{link['linkId']}"
    assert client.delete(url).status_code == client.delete(url).status_code == 204
    # Not even for the address that has just used it.
    assert get(client, link).status_code == 410
    assert get(client, other).status_code == 302
    listed = client.get(f"/v1/download/{job_id}/links").json["links"]
    assert {each["linkId"]: each["revokedAt"] is None for each in listed} == {
        link["linkId"]: False,
        other["linkId"]: True,
    }


def test_a_link_ends_with_its_expiry_and_with_the_archive_at_the_latest(
    client: FlaskClient, create: Create, job_id: str, redis: Redis
) -> None:
    job: Any = redis.hgetall(_job_key(redis))
    late, soon = create(expiresIn=31_536_000), create(expiresIn=60)
    archive_ends = client.get(f"/v1/download/status/{job_id}").json
    assert late["expiresAt"] > soon["expiresAt"]
    key = _link_key(redis, late)
    assert redis.hget(key, "expires_at") == job["expires_at"]
    # The job's first: what is read later is shorter.
    ttl_of_job: Any = redis.pttl(_job_key(redis))
    ttl: Any = redis.pttl(key)
    assert 0 < ttl <= ttl_of_job + 1  # A rounded copy.
    assert archive_ends["status"] == "completed"
    key = _link_key(redis, soon)
    redis.hset(key, "expires_at", "1")
    assert get(client, soon).status_code == 410
    assert get(client, late).status_code == 302


def _job_key(redis: Redis) -> str:
    (key,) = redis.scan_iter("job:status:*")
    return str(key)


def _link_key(redis: Redis, link: dict[str, Any]) -> str:
    (key,) = redis.scan_iter(f"link:*:{link['linkId']}*")
    return str(key)


@pytest.mark.parametrize(
    ("ip", "address", "status"),
    [
        ("192.0.2.1", "192.0.2.1", 302),
        ("192.0.2.1", "192.0.2.2", 403),
        ("192.0.2.0/24", "192.0.2.200", 302),
        ("192.0.2.7/24", "192.0.2.200", 302),
        ("192.0.2.0/24", "192.0.3.1", 403),
        ("192.0.2.1", "::ffff:192.0.2.1", 302),
        ("2001:db8::/32", "2001:db8::5", 302),
        ("2001:db8::/32", "192.0.2.1", 403),
        ("192.0.2.1", "unknown", 403),
    ],
)
def test_a_link_may_be_limited_to_an_address_or_network(
    client: FlaskClient, create: Create, ip: str, address: str, status: int
) -> None:
    link = create(ip=ip, maxUses=1)
    assert get(client, link, address).status_code == status
    assert get(client, link, address).status_code == status


def test_a_link_names_the_file(client: FlaskClient, create: Create) -> None:
    link = create(fileName="report.zip")
    assert "name=report.zip" in get(client, link).headers["Location"]


@pytest.mark.parametrize(
    "body",
    [
        {"expiresIn": 0},
        {"expiresIn": 1.5},
        {"expiresIn": 31_536_001},
        {"maxUses": 0},
        {"maxUses": True},
        {"ip": "example.com"},
        {"ip": "192.0.2.0/33"},
        {"fileName": "../x"},
        {"fileName": ""},
        {"unknown": 1},
    ],
    ids=str,
)
def test_invalid_limits_are_rejected(
    client: FlaskClient, job_id: str, body: dict[str, Any]
) -> None:
    response = client.post(f"/v1/download/{job_id}/links", json=body)
    assert (response.status_code, response.json["code"]) == (400, "VALIDATION_ERROR")


def test_an_unfinished_job_has_no_links(client: FlaskClient, post: Callable[..., Any]) -> None:
    job_id = post().json["jobId"]
    response = client.post(f"/v1/download/{job_id}/links", json={})
    assert (response.status_code, response.json["code"]) == (404, "JOB_NOT_READY")


def test_a_job_has_a_limited_number_of_links(
    client: FlaskClient, create: Create, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_links, "MAX_LINKS", 3)
    for _ in range(3):
        create()
    response = client.post(f"/v1/download/{job_id}/links", json={})
    assert (response.status_code, response.json["code"]) == (409, "TOO_MANY_LINKS")


@pytest.mark.parametrize("change", ["first", "last", "short", "long", "odd"])
def test_an_unknown_token_is_not_found(client: FlaskClient, create: Create, change: str) -> None:
    token = path_of(create())[3:]
    other = {
        "first": ("0" if token[0] != "0" else "1") + token[1:],
        "last": token[:-1] + ("A" if token[-1] != "A" else "B"),
        "short": token[:-1],
        "long": token + "A",
        "odd": "z" + token[1:],
    }[change]
    response = client.get(f"/d/{other}")
    assert (response.status_code, response.json["code"]) == (404, "LINK_NOT_FOUND")


def test_an_ended_link_reveals_nothing_about_the_job(
    client: FlaskClient, create: Create, job_id: str, redis: Redis
) -> None:
    link = create()
    redis.hset(_job_key(redis), "expires_at", "1")
    response = get(client, link)
    assert response.status_code == 410
    assert job_id not in response.get_data(as_text=True)


def test_links_of_another_job_cannot_be_revoked(
    client: FlaskClient, create: Create, post: Callable[..., Any]
) -> None:
    link = create()
    other = post(file_ids=[3]).json["jobId"]
    response = client.delete(f"/v1/download/{other}/links/{link['linkId']}")
    assert (response.status_code, response.json["code"]) == (404, "LINK_NOT_FOUND")
    assert get(client, link).status_code == 302


def test_with_jwt_only_the_owner_manages_links_and_anyone_may_use_them(
    make_app: Callable[..., Flask], worker: Worker
) -> None:
    client = make_app(auth_mode="jwt", jwt_secret=SECRET, jwt_audience="longhaul").test_client()
    alice = bearer("alice")
    job = client.post("/v1/download/initiate", json={"file_id": 1}, headers=alice).json
    worker.complete(job["jobId"])
    url = f"/v1/download/{job['jobId']}/links"
    assert client.post(url, json={}).status_code == 401
    assert client.post(url, json={}, headers=bearer("bob")).status_code == 403
    link = client.post(url, json={}, headers=alice).json
    assert get(client, link).status_code == 302
    # The job's own URL carries a ticket: a plain link works.
    path = job["resultUrl"].removeprefix("http://localhost")
    assert client.get(path).status_code == 302
    assert client.get(path.partition("?")[0]).status_code == 401
    assert client.get(url, headers=alice).json["links"][0]["uses"] == 1


def test_guessing_is_rate_limited(make_app: Callable[..., Flask]) -> None:
    client = make_app(requests_per_minute_ip=3).test_client()
    statuses = [client.get("/d/" + "0" * 44).status_code for _ in range(5)]
    assert statuses == [404, 404, 404, 429, 429]


def test_a_link_that_is_used_at_the_same_time_is_counted_exactly(
    create: Create, redis: Redis
) -> None:
    link = create(maxUses=1)
    links = DownloadLinks(redis)
    found = links.find(path_of(link)[3:])
    links.redeem(found, "192.0.2.1")
    with pytest.raises(Exception, match="maximum number of downloads"):
        links.redeem(found, "192.0.2.2")
