"""A system shared by the end-to-end tests; tests that stop components start their own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import httpx
import pytest

from longhaul_client import Longhaul
from stack.sample_catalog import SMALL
from stack.system import System
from tests.support.tcp_proxy import TcpProxy


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, TcpProxy]]:
    system = System(tmp_path_factory.mktemp("system"), files=SMALL, workers=0)
    s3_proxy = TcpProxy(int(system.s3_endpoint.rpartition(":")[2]))
    system.env["S3_ENDPOINT_URL"] = f"http://127.0.0.1:{s3_proxy.port}"
    with s3_proxy, system:
        system.add_worker()
        yield system, s3_proxy


@pytest.fixture
def system(running: tuple[System, TcpProxy]) -> System:
    return running[0]


@pytest.fixture
def s3_proxy(running: tuple[System, TcpProxy]) -> Iterator[TcpProxy]:
    """The proxy in front of the S3 server; ``hold()`` keeps jobs in the processing state."""
    yield running[1]
    running[1].restore()


@pytest.fixture
def longhaul(system: System) -> Iterator[Longhaul]:
    """A client with a user of its own, so that limits and lists of tests do not mix."""
    with Longhaul(system.base_url, user=str(uuid.uuid4())) as client:
        yield client


@pytest.fixture
def http(system: System) -> Iterator[httpx.Client]:
    """A plain HTTP client with a user of its own."""
    headers = {"X-User-Id": f"user-{uuid.uuid4().hex[:12]}"}
    with httpx.Client(base_url=system.base_url, headers=headers, timeout=30) as client:
        yield client
