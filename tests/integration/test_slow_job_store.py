"""Every request is answered within two seconds, whatever the job store does."""

from __future__ import annotations

import http.client
import json
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from redis import Redis

from stack.process import wait_until
from stack.services import Valkey, start_valkey
from tests.support.live_api import OPERATOR, Api, running
from tests.support.tcp_proxy import TcpProxy

#: Seconds within which a 503 has to arrive (the contract of the HTTP API).
LIMIT: Final = 2.0
#: What these tests grant to two busy cores that serve all requests at the same time.
BUSY_MACHINE: Final = 0.3

#: Every route that reads or writes the job store; {id} is a job's.
ROUTES: Final = (
    ("POST", "/v1/download/initiate", {"file_ids": [70001]}),
    ("POST", "/v1/download/async", {"file_ids": [70002], "fileName": "not on the fast path"}),
    ("POST", "/v1/download/start", {"file_id": 70003}),
    ("POST", "/v1/download/{id}/retry", None),
    ("POST", "/v1/download/cancel/{id}", None),
    ("DELETE", "/v1/download/{id}", None),
    ("GET", "/v1/download/status/{id}", None),
    ("GET", "/v1/download/status/{id}?wait=5", None),
    ("GET", "/v1/download/status/{id}/files", None),
    ("GET", "/v1/download/{id}", None),
    ("GET", "/v1/download/{id}/deliveries", None),
    ("GET", "/v1/download/subscribe/{id}", None),
    ("GET", "/v1/download/{id}/stream", None),
    ("GET", "/v1/download/jobs", None),
    ("GET", "/v1/download/queue/stats", None),
    ("GET", "/v1/admin/workers", None),
    ("GET", "/v1/admin/overview", None),
    ("GET", "/v1/admin/stream", None),
    ("GET", "/v1/admin/dead-letters", None),
    ("POST", "/v1/admin/dead-letters/{id}/requeue", None),
    ("POST", "/v1/admin/queue/pause", None),
    ("POST", "/v1/admin/queue/resume", None),
    ("GET", "/health/ready", None),
    ("GET", "/health", None),
    ("GET", "/metrics", None),
)
#: These report the state of the job store in their body.
ALWAYS_200: Final = {"/metrics"}


@dataclass(frozen=True, kw_only=True)
class Response:
    """The status of a response and the seconds until it had begun."""

    request: str
    status: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Setup:
    """An API whose connections to Valkey pass a proxy, and a job."""

    api: Api
    tcp_proxy: TcpProxy
    valkey: Valkey
    job_id: str


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    valkey = start_valkey(tmp_path / "valkey")
    tcp_proxy = TcpProxy(valkey.port)
    url = f"redis://127.0.0.1:{tcp_proxy.port}/0"
    with tcp_proxy, running(Api(url, tmp_path / "log", CREATE_PER_MINUTE_USER=100_000)) as api:
        job_id = str(api.post("/v1/download/initiate", {"file_ids": [1]})["jobId"])
        yield Setup(api=api, tcp_proxy=tcp_proxy, valkey=valkey, job_id=job_id)
        tcp_proxy.restore()
        valkey.process.signal(signal.SIGCONT)
    valkey.process.stop()


def _send(setup: Setup, method: str, path: str, body: object) -> Response:
    path = path.format(id=setup.job_id)
    connection = http.client.HTTPConnection("127.0.0.1", setup.api.port, timeout=10)
    headers = {**OPERATOR, **({"Content-Type": "application/json"} if body else {})}
    started = time.monotonic()
    connection.request(method, path, json.dumps(body) if body else None, headers)
    # A stream never ends: its head is enough.
    status = connection.getresponse().status
    seconds = time.monotonic() - started
    connection.close()
    return Response(request=f"{method} {path}", status=status, seconds=seconds)


def _send_all(setup: Setup) -> list[Response]:
    with ThreadPoolExecutor(len(ROUTES)) as pool:
        return list(pool.map(lambda route: _send(setup, *route), ROUTES))


def _hold(setup: Setup) -> None:
    setup.tcp_proxy.hold()


def _hold_new_connections(setup: Setup) -> None:
    setup.tcp_proxy.hold()
    setup.tcp_proxy.reset()


def _refuse(setup: Setup) -> None:
    setup.tcp_proxy.refuse()


def _stop(setup: Setup) -> None:
    setup.valkey.process.signal(signal.SIGSTOP)


def _slow_down(setup: Setup) -> None:
    # Each call succeeds just before its own timeout, but a request that makes several is too slow.
    setup.tcp_proxy.delay(0.6)


def _slow_down_new_connections(setup: Setup) -> None:
    setup.tcp_proxy.reset()
    setup.tcp_proxy.delay(0.6)


@pytest.mark.parametrize(
    "fault",
    [_hold, _hold_new_connections, _refuse, _stop, _slow_down, _slow_down_new_connections],
)
def test_every_request_is_answered_within_two_seconds(
    setup: Setup, fault: Callable[[Setup], None]
) -> None:
    fault(setup)
    is_slow = fault in (_slow_down, _slow_down_new_connections)
    for _ in range(3):
        responses = _send_all(setup)
        late = [each for each in responses if each.seconds > LIMIT + BUSY_MACHINE]
        assert not late
        if not is_slow:
            statuses = {each.request: each.status for each in responses}
            expected = {each: 200 if each.split()[1] in ALWAYS_200 else 503 for each in statuses}
            assert statuses == expected
        time.sleep(0.4)
    status, _, _ = setup.api.get("/health/live")
    assert status == 200


def test_a_job_is_accepted_while_its_broker_hangs(tmp_path: Path) -> None:
    store, broker = start_valkey(tmp_path / "store"), start_valkey(tmp_path / "broker")
    tcp_proxy = TcpProxy(broker.port)
    url = f"redis://127.0.0.1:{tcp_proxy.port}/0"
    with tcp_proxy, running(Api(store.url, tmp_path / "log", BROKER_URL=url)) as api:
        api.post("/v1/download/initiate", {"file_ids": [1]})
        tcp_proxy.hold()
        for number in range(2, 5):
            started = time.monotonic()
            # Of a user without other jobs: only then is there a wake-up to send.
            user = {"X-User-Id": f"user-{number}"}
            api.post("/v1/download/initiate", {"file_ids": [number]}, **user)
            assert time.monotonic() - started < LIMIT
        tcp_proxy.restore()
        with Redis.from_url(broker.url) as client:

            def sends_again() -> bool:
                user = {"X-User-Id": f"user-{time.monotonic_ns()}"}
                before = client.llen("longhaul.normal")
                api.post("/v1/download/initiate", {"file_ids": [1]}, **user)
                return bool(client.llen("longhaul.normal") > before)

            wait_until(sends_again, "wake-ups", 10)
    store.process.stop()
    broker.process.stop()
