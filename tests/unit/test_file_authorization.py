"""API and worker never reveal a file, a name or a size that the authorizer denies.

Random users with random rights request random files in every way there is. Each file has a name,
a size and a content of its own, so what a response or an archive reveals can be recognized.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import jwt
import pytest
from flask.testing import FlaskClient
from redis import Redis

from api.app import create_app
from common.bootstrap import assemble
from common.job_store.jobs import Limits
from common.jobs.model import Job, WakeUp
from common.object_storage import StorageProfile
from common.settings import Settings
from tests.support import authorization_service
from tests.support.authorization_service import AuthorizationServer, hang, respond
from tests.support.fake_s3 import FakeS3
from tests.support.small_catalog import SMALL
from worker.archive_builder import ArchiveBuilder
from worker.attempt.heartbeat import HeartbeatThread
from worker.attempt.runner import AttemptRunner, Backoff

JWT_SECRET: Final = "0123456789abcdef0123456789abcdef"
PUBLIC_URL: Final = "https://downloads.example"
FILES: Final = range(1, 31)
USERS: Final = tuple(f"user{number}" for number in range(20))

pytestmark = pytest.mark.usefixtures("small_parts")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.archive_builder.PartSizes", lambda **_: SMALL)
    # A busy machine must not look like a service that does not respond.
    monkeypatch.setattr("common.authorization.service.TIMEOUT", 30.0)


def size_of(file_id: int) -> int:
    return 10_007 + 37 * file_id


def content_of(file_id: int) -> bytes:
    return f"<secret of file {file_id}>".encode().ljust(size_of(file_id), b".")


class Storage(FakeS3):
    """The fake object storage with links that name what they lead to."""

    def presign_get(self, bucket: str, key: str, **_: Any) -> str:
        return f"https://storage.example/{bucket}/{key}"

    def links_expire_at(self) -> int | None:
        return None

    def read_link(self, url: str) -> bytes:
        bucket, _, key = url.removeprefix("https://storage.example/").partition("/")
        return self.objects[bucket, key].data


class System:
    """The API and a worker on one fake storage. ``rights``: the files of each user."""

    def __init__(self, redis: Redis, rights: dict[str, set[int]], **changes: Any) -> None:
        self.rights = rights
        self.storage = Storage()
        for file_id in FILES:
            self.storage.add_object(
                "files",
                str(file_id),
                content_of(file_id),
                metadata={"filename": f"secret-{file_id}.bin"},
            )
        settings = Settings(
            auth_mode="jwt",
            jwt_secret=JWT_SECRET,
            ticket_secret="tickets",
            public_url=PUBLIC_URL,
            manage_bucket=False,
            create_per_minute_user=100_000,
            create_per_minute_ip=100_000,
            requests_per_minute_ip=1_000_000,
            max_active_jobs=1_000,
            request_timeout=0,
            authorize_cache_seconds=0.0,
            authorize_secret=authorization_service.SECRET,
            **changes,
        )
        self.by_token = bool(settings.authorized_files_claim)
        storage: Any = self.storage
        self.services = assemble(settings, redis, storage)
        self.app = create_app(self.services)
        self.client: FlaskClient = self.app.test_client()
        archives = ArchiveBuilder(self.services)
        archives._profile = StorageProfile()
        self.runner = AttemptRunner(
            self.services.jobs,
            HeartbeatThread(self.services.jobs, interval=60, on_heartbeat=lambda: None),
            archives.build,
            name="worker",
            deadline=60,
            backoff=Backoff(base=0.0),
        )

    def token(self, user: str) -> dict[str, str]:
        """Return the header with a token as its issuer would sign it now."""
        claims: dict[str, Any] = {
            "sub": user,
            "exp": time.time() + 600,
            "jti": str(random.random()),
        }
        if self.by_token:
            claims["files"] = sorted(self.rights[user])
        return {"Authorization": f"Bearer {jwt.encode(claims, JWT_SECRET, 'HS256')}"}

    def call(self, user: str, method: str, path: str, **options: Any) -> Any:
        """Send a request, and check that the response reveals nothing that the user may not see."""
        headers = {**self.token(user), **options.pop("headers", {})}
        response = self.client.open(path, method=method, headers=headers, **options)
        self.check_text(user, response.get_data(as_text=True))
        if response.status_code == 302:
            self.check_content(user, self.storage.read_link(response.headers["Location"]))
        return response

    def open(self, url: str, headers: dict[str, str] | None = None) -> Any:
        """Open a URL as a browser does: without a token, unless ``headers`` contain one."""
        return self.client.get(url.removeprefix(PUBLIC_URL), headers=headers)

    def check_text(self, user: str, text: str) -> None:
        for file_id in set(FILES) - self.rights[user]:
            assert f"secret-{file_id}.bin" not in text
            assert not re.search(rf"\b{size_of(file_id)}\b", text)
        for url in re.findall(r"https://storage\.example/[^\"]+", text):
            self.check_content(user, self.storage.read_link(url))

    def check_content(self, user: str, data: bytes) -> None:
        for file_id in set(FILES) - self.rights[user]:
            assert f"<secret of file {file_id}>".encode() not in data
            assert f"secret-{file_id}.bin".encode() not in data

    def create(self, user: str, file_ids: list[int], **options: Any) -> Any:
        headers = options.pop("headers", {})
        return self.call(
            user, "POST", "/v1/download/initiate",
            json={"file_ids": file_ids, **options}, headers=headers,
        )  # fmt: skip

    def run(self, job_id: str) -> Job:
        self.runner.run_download(WakeUp(job_id=job_id, priority="normal", sent=0))
        return self.services.queries.get(job_id)

    def look_everywhere(self, user: str, job_id: str) -> None:
        """Read the job by every route that has its ID, and the user's list."""
        for rule in self.app.url_map.iter_rules():
            if "job_id" in rule.arguments and "GET" in (rule.methods or ()):
                self.call(user, "GET", re.sub(r"<[^>]+>", job_id, rule.rule))
        self.call(user, "GET", "/v1/download/jobs")
        self.call(user, "GET", f"/v1/download/{job_id}", headers={"Accept": "application/json"})


@pytest.fixture
def limits() -> Limits:
    return Limits(max_active=1_000)


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    with authorization_service.running() as server:
        yield server


@pytest.fixture(params=["claim", "service"])
def make_system(
    request: pytest.FixtureRequest, redis: Redis, server: AuthorizationServer
) -> Callable[[dict[str, set[int]]], System]:
    def make(rights: dict[str, set[int]]) -> System:
        if request.param == "claim":
            return System(redis, rights, authorized_files_claim="files")
        server.rights = rights
        return System(redis, rights, authorize_url=server.url)

    return make


@pytest.fixture
def asked(redis: Redis, server: AuthorizationServer) -> System:
    """Return a system whose service allows files 1 to 3 to alice and bob."""
    server.rights = {"alice": {1, 2, 3}, "bob": {1, 2, 3}}
    return System(redis, server.rights, authorize_url=server.url)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [1, 2])
def test_fifty_random_pairs_of_users_and_files_by_each_way_and_seed(
    make_system: Callable[[dict[str, set[int]]], System], seed: int
) -> None:
    rng = random.Random(seed)
    rights = {user: set(rng.sample(FILES, 15)) for user in USERS}
    system = make_system(rights)
    allowed_jobs: dict[str, str] = {}
    for number in range(50):
        user, file_id = rng.choice(USERS), rng.choice(FILES)
        others = rng.sample(sorted(rights[user] - {file_id}), 2)
        is_allowed = file_id in rights[user]

        check = system.call(user, "POST", "/v1/download/check", json={"file_id": file_id})
        assert (check.status_code == 200) is is_allowed
        alone = system.create(user, [file_id])
        mixed = system.create(user, [others[0], file_id, others[1]])
        start = system.call(user, "POST", "/v1/download/start", json={"file_id": file_id})
        for response in (alone, mixed, start):
            if is_allowed:
                assert response.status_code in (200, 202)
            else:
                assert (response.status_code, response.json["code"]) == (403, "FILE_FORBIDDEN")
                assert response.json["file_ids"] == [file_id]
        if is_allowed:
            job = system.run(mixed.json["jobId"])
            assert job.status == "completed", job.failure
            system.look_everywhere(user, job.id)
            allowed_jobs[user] = job.id

        # The job of another user with more rights, by the same idempotency key.
        skipping = system.create(
            user, [file_id, *others], onMissing="skip", headers={"Idempotency-Key": str(number)}
        )
        replayed = system.create(
            user, [file_id, *others], onMissing="skip", headers={"Idempotency-Key": str(number)}
        )
        assert skipping.status_code == replayed.status_code == 202
        assert skipping.json["jobId"] == replayed.json["jobId"]
        job = system.run(skipping.json["jobId"])
        assert job.status == "completed", job.failure
        assert job.artifact is not None
        assert job.artifact.missing_files == (0 if is_allowed else 1)
        archive = system.storage.objects[job.artifact.bucket, job.artifact.key].data
        if not is_allowed:
            assert b'"code": "FILE_FORBIDDEN"' in archive
        system.look_everywhere(user, job.id)
        system.call(user, "POST", f"/v1/download/{job.id}/retry")

        # Somebody else's rights change, and what they had is read with a new token.
        victim = rng.choice(sorted(allowed_jobs)) if allowed_jobs else user
        lost = rng.choice(sorted(rights[victim]))
        if victim in allowed_jobs and len(rights[victim]) > 5:
            rights[victim].discard(lost)
            spec = system.services.queries.spec(allowed_jobs[victim])
            response = system.call(victim, "GET", f"/v1/download/{allowed_jobs[victim]}")
            assert response.status_code == (403 if lost in spec.file_ids else 302) or (
                set(spec.file_ids) - rights[victim]
            )
            system.call(victim, "POST", f"/v1/download/{allowed_jobs[victim]}/retry")
            system.call(victim, "GET", f"/v1/download/status/{allowed_jobs[victim]}/files")
            rights[victim].add(lost)


def test_a_right_that_is_revoked_while_the_job_waits_is_noticed_by_the_worker(
    asked: System,
) -> None:
    job = asked.create("alice", [1, 2]).json
    asked.rights["alice"].discard(2)
    ended = asked.run(job["jobId"])
    assert ended.failure is not None
    assert (ended.failure.code, ended.failure.retryable) == ("FILE_FORBIDDEN", False)
    assert ended.failure.message == "You don't have permission to download file 2"


def test_a_right_that_is_revoked_between_two_attempts_is_noticed(
    asked: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = asked.create("alice", [1, 2], onMissing="skip").json
    with monkeypatch.context() as patch:
        patch.setattr(asked.storage, "hook", fail)
        assert asked.run(job["jobId"]).status == "queued"
    asked.rights["alice"].discard(2)
    asked.services.sweeper.sweep(lambda: None)
    ended = asked.run(job["jobId"])
    assert ended.status == "completed"
    assert ended.artifact is not None
    assert ended.artifact.missing_files == 1


def fail(_: str) -> None:
    from common.errors import StorageError

    raise StorageError("for the test")


def test_an_archive_of_another_user_is_reused_only_with_the_right_to_all_its_files(
    asked: System,
) -> None:
    first = asked.run(asked.create("alice", [1, 2]).json["jobId"])
    job = asked.create("bob", [1, 2]).json
    asked.rights["bob"].discard(2)
    assert asked.run(job["jobId"]).status == "failed"
    asked.rights["bob"].add(2)
    again = asked.run(asked.create("bob", [2, 1][::-1]).json["jobId"])
    assert again.artifact is not None
    assert first.artifact is not None
    assert again.artifact.key == first.artifact.key


def test_revoking_takes_effect_on_links_that_are_not_redeemed(asked: System) -> None:
    created = asked.create("alice", [1, 2]).json
    job_id = asked.run(created["jobId"]).id
    status = asked.call("alice", "GET", f"/v1/download/status/{job_id}").json
    shared = asked.call("alice", "POST", f"/v1/download/{job_id}/links", json={}).json["url"]
    tickets = [status["downloadUrl"], created["resultUrl"]]
    assert all(url.startswith(f"{PUBLIC_URL}/v1/download/{job_id}?ticket=") for url in tickets)
    for link in (*tickets, shared):
        # A plain link: no token.
        response = asked.open(link)
        assert response.status_code == 302
        assert b"<secret of file 2>" in asked.storage.read_link(response.headers["Location"])
    asked.rights["alice"].discard(2)
    for link in tickets:
        response = asked.open(link)
        assert (response.status_code, response.json["code"]) == (403, "FILE_FORBIDDEN")
        assert response.json["file_ids"] == [2]
    response = asked.open(shared)
    assert (response.status_code, response.json["code"]) == (403, "FORBIDDEN")
    # Not a use of the link.
    asked.rights["alice"].add(2)
    path = f"/v1/download/{job_id}/links"
    assert asked.call("alice", "GET", path).json["links"][0]["uses"] == 1
    files = asked.open(f"/v1/download/status/{job_id}/files", headers=asked.token("bob"))
    assert files.status_code == 403


def test_a_listing_hides_names_and_sizes_after_a_right_is_revoked(asked: System) -> None:
    job_id = asked.run(asked.create("alice", [1, 2]).json["jobId"]).id
    files = f"/v1/download/status/{job_id}/files"
    token = asked.token("alice")
    shown = asked.open(files, headers=token).json["files"]
    assert [each["fileName"] for each in shown] == ["secret-1.bin", "secret-2.bin"]
    asked.rights["alice"].discard(2)
    # The same token, which the API has seen before.
    shown = asked.open(files, headers=token).json["files"]
    assert [(each["fileName"], each["size"]) for each in shown] == [
        ("secret-1.bin", size_of(1)),
        (None, None),
    ]
    assert shown[1]["errorCode"] == "FILE_FORBIDDEN"


def test_a_token_with_fewer_files_does_not_open_the_jobs_of_one_with_more(redis: Redis) -> None:
    system = System(redis, {"alice": {1, 2, 3}}, authorized_files_claim="files")
    created = system.create("alice", [1, 2]).json
    job_id = system.run(created["jobId"]).id
    system.rights["alice"] = {1}
    for rule in system.app.url_map.iter_rules():
        if "job_id" in rule.arguments and not rule.rule.startswith("/v1/admin/"):
            for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
                path = re.sub(r"<[^>]+>", job_id, rule.rule)
                response = system.call("alice", method, path, json={})
                assert (response.status_code, response.json["code"]) == (403, "FILE_FORBIDDEN")
    (listed,) = system.call("alice", "GET", "/v1/download/jobs").json["jobs"]
    assert (listed["downloadUrl"], listed["fileSize"], listed["totalBytes"]) == (None, None, None)


def test_identical_requests_of_tokens_with_different_files_are_different_jobs(
    redis: Redis,
) -> None:
    system = System(redis, {"alice": {1, 2, 3}}, authorized_files_claim="files")
    key = {"Idempotency-Key": "the same"}
    wide = system.create("alice", [1, 2, 3], onMissing="skip", headers=key).json
    system.rights["alice"] = {1, 2}
    narrow = system.create("alice", [1, 2, 3], onMissing="skip").json
    assert narrow["jobId"] != wide["jobId"]
    replayed = system.create("alice", [1, 2, 3], onMissing="skip", headers=key)
    assert (replayed.status_code, replayed.json["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_a_new_token_with_the_same_files_finds_the_running_job(redis: Redis) -> None:
    system = System(redis, {"alice": {1, 2, 3}}, authorized_files_claim="files")
    first = system.create("alice", [1, 2]).json
    assert system.create("alice", [1, 2]).json["jobId"] == first["jobId"]


@pytest.mark.parametrize(
    "misbehave",
    [hang, respond(b"{}"), respond(b'{"allowed": "*"}'), respond(b'{"allowed": [1, 2]}', 500)],
    ids=["silent", "no decision", "lying", "error"],
)
def test_without_a_decision_every_call_is_503_and_the_job_waits(
    asked: System, server: AuthorizationServer, monkeypatch: pytest.MonkeyPatch, misbehave: Any
) -> None:
    waiting = asked.create("alice", [1, 2]).json["jobId"]
    finished = asked.run(asked.create("bob", [1, 2]).json["jobId"]).id
    monkeypatch.setattr("common.authorization.service.TIMEOUT", 0.3)
    server.misbehave = misbehave
    for user, method, path, body in (
        ("alice", "POST", "/v1/download/initiate", {"file_ids": [1]}),
        ("alice", "POST", "/v1/download/initiate", {"file_ids": [1, 9], "onMissing": "skip"}),
        ("alice", "POST", "/v1/download/start", {"file_id": 1}),
        ("alice", "POST", "/v1/download/check", {"file_id": 1}),
        ("bob", "GET", f"/v1/download/{finished}", None),
        ("bob", "GET", f"/v1/download/status/{finished}/files", None),
    ):
        response = asked.call(user, method, path, json=body)
        assert (response.status_code, response.json["code"]) == (503, "BACKEND_UNAVAILABLE"), path
        assert response.headers["Retry-After"] == "2"
    (listed,) = asked.call("bob", "GET", "/v1/download/jobs").json["jobs"]
    assert listed["downloadUrl"] is None
    job = asked.run(waiting)
    assert (job.status, job.attempt, job.failure) == ("queued", 0, None)


def test_an_operator_is_not_asked_for_and_gets_what_the_owner_may_have(asked: System) -> None:
    job_id = asked.run(asked.create("alice", [1, 2]).json["jobId"]).id
    claims = {"sub": "root", "exp": time.time() + 60, "scope": "downloads:admin"}
    operator = {"Authorization": f"Bearer {jwt.encode(claims, JWT_SECRET, 'HS256')}"}
    assert asked.open(f"/v1/download/{job_id}", headers=operator).status_code == 302
    asked.rights["alice"].discard(1)
    assert asked.open(f"/v1/download/{job_id}", headers=operator).status_code == 403


def test_the_stored_request_has_no_grant_without_an_authorizer(redis: Redis) -> None:
    # Workers of the release before do not know it.
    settings = dataclasses.replace(Settings(), manage_bucket=False)
    services = assemble(settings, redis, Storage())  # type: ignore[arg-type]
    client = create_app(services).test_client()
    job: Any = client.post("/v1/download/initiate", json={"file_ids": [1]}).json
    (key,) = redis.keys("job:spec:*")
    stored = json.loads(redis.get(key))  # type: ignore[arg-type]
    assert "grant" not in stored
    assert job["jobId"] in str(key)
