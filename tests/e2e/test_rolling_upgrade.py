"""Processes of the previous release beside current ones, on the same state and under load."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import httpx
import pytest
from redis import Redis

from common.job_store import keys
from common.job_store.client import open_client
from stack.components import ROOT
from stack.process import wait_until
from stack.sample_catalog import SMALL
from stack.system import System

#: The commit of the previous release. Change it when a release is made.
PREVIOUS_RELEASE = os.environ.get("PREVIOUS_RELEASE", "878098562506dd2cc34ea9587b939a67e6907441")
JOBS = 8

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the source of the previous release."""
    archive = subprocess.run(
        ["git", "archive", PREVIOUS_RELEASE], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"the clone lacks {PREVIOUS_RELEASE}: fetch the whole history")
    directory = tmp_path_factory.mktemp("previous")
    subprocess.run(["tar", "--extract", "--directory", directory], input=archive.stdout, check=True)
    return directory


class Deployment:
    """A system whose processes run the previous release at first, and jobs that all must end."""

    def __init__(self, state: Path, previous: Path) -> None:
        self.previous = previous
        env = {"MAX_ACTIVE_JOBS": "1000", "DRAIN_GRACE": "5", "HEARTBEAT_INTERVAL": "1"}
        self.system = System(state, workers=0, files=SMALL, env=env)
        self.system.use_release("api", previous)
        self.http = httpx.Client(base_url=self.system.base_url, timeout=30)
        self.redis: Redis = open_client(self.system.redis_url, timeout=10)
        self.jobs: list[str] = []
        self._orders = permutations([sample.file_id for sample in SMALL])

    def post(self, count: int = JOBS) -> None:
        """Post jobs, each for other files, so that none finds the archive of another."""
        for _ in range(count):
            order = next(self._orders)
            response = self.http.post(
                "/v1/download/initiate",
                json={"file_ids": order, "metadata": {"number": len(self.jobs)}},
                headers={"X-User-Id": f"user-{len(self.jobs) % 5}"},
            )
            assert response.status_code == 202, response.text
            self.jobs.append(response.json()["jobId"])

    def switch_api(self, release: Path) -> None:
        self.system.stop_component("api")
        self.system.use_release("api", release)
        self.system.start_component("api")

    def switch_worker(self, name: str, release: Path) -> None:
        self.system.stop_component(name)
        self.system.use_release(name, release)
        self.system.start_component(name)

    def wait_until_completed(self) -> None:
        """Wait for all jobs, and check that none was lost with a worker."""
        wait_until(lambda: set(self._states()) == {"completed"}, f"all of {self._states()}", 60)
        for job_id in self.jobs:
            assert self.redis.llen(keys.attempts(job_id)) == 0
            assert self.http.get(f"/v1/download/{job_id}").status_code == 302

    def _states(self) -> list[str]:
        responses = [self.http.get(f"/v1/download/status/{job_id}") for job_id in self.jobs]
        return [response.json().get("status", response.text) for response in responses]


@pytest.fixture
def deployment(tmp_path: Path, previous: Path) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path, previous)
    with deployment.system, deployment.http, deployment.redis:
        for _ in range(2):
            name = deployment.system.add_worker(release=previous)
            assert name in deployment.system.workers
        yield deployment


def test_workers_are_upgraded_before_the_api(deployment: Deployment) -> None:
    first, second = deployment.system.workers
    deployment.post()
    deployment.switch_worker(first, ROOT)
    deployment.post()
    deployment.wait_until_completed()
    deployment.post()
    deployment.switch_worker(second, ROOT)
    deployment.post()
    deployment.switch_api(ROOT)
    deployment.post()
    deployment.wait_until_completed()


def test_the_api_is_upgraded_before_the_workers_and_rolled_back(deployment: Deployment) -> None:
    first, second = deployment.system.workers
    deployment.post()
    deployment.switch_api(ROOT)
    deployment.post()
    deployment.wait_until_completed()
    deployment.post()
    deployment.switch_worker(first, ROOT)
    deployment.post()
    deployment.switch_worker(second, ROOT)
    deployment.post()
    # And back, with jobs of the current release waiting and running.
    deployment.switch_worker(first, deployment.previous)
    deployment.switch_api(deployment.previous)
    deployment.post()
    deployment.switch_worker(second, deployment.previous)
    deployment.wait_until_completed()
