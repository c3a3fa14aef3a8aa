"""Prometheus, Alertmanager and the dashboard's queries with a running system and its outages."""

from __future__ import annotations

import json
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import httpx
import pytest
from redis import Redis

from stack import components
from stack.components import ROOT, Component
from stack.process import Process, free_port, wait_until
from stack.sample_catalog import MISSING_ID, SMALL
from stack.system import System
from tests.support import webhook_receiver
from tests.support.monitoring import ALERTMANAGER, IGNORED, PROMETHEUS, Monitoring, monitoring
from tests.support.webhook_receiver import Receiver

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not (PROMETHEUS and ALERTMANAGER), reason="needs Prometheus and Alertmanager"
    ),
]

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "longhaul.json"
#: Queries that return nothing while nothing is wrong, or no email is sent.
MAY_BE_EMPTY = ('status!~"2..|304|404"', "longhaul_emails_total")
#: Seconds for which an alert must be the only one.
CALM = 3.0


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A system with traffic, and what watches it."""

    system: System
    second_api: Component
    monitoring: Monitoring
    alerts: Receiver
    processes: dict[str, Process]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    directory = tmp_path_factory.mktemp("monitoring")
    ports = [free_port() for _ in range(3)]
    env = {
        "API_METRICS_PORT": str(ports[0]),
        "METRICS_PORT": str(ports[1]),
        "WEBHOOK_ALLOW_PRIVATE": "true",
    }
    with ExitStack() as stack:
        receiver = stack.enter_context(webhook_receiver.running())
        system = stack.enter_context(System(directory / "system", files=SMALL, env=env))
        second_env = {**system.env, "PORT": str(free_port()), "API_METRICS_PORT": str(ports[2])}
        second_api = components.api(second_env, directory / "second-api.log")
        processes = {"second API": second_api.start()}
        stack.callback(lambda: processes["second API"].stop())
        wait_until(lambda: second_api.ready(processes["second API"]), "second API", 60)
        targets = {
            "longhaul-api": [f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[2]}"],
            "longhaul-worker": [f"127.0.0.1:{ports[1]}"],
        }
        found = stack.enter_context(monitoring(directory, targets, receiver.url("/alerts")))
        stack.enter_context(_traffic(system, receiver.url("/jobs")))
        yield Watched(
            system=system,
            second_api=second_api,
            monitoring=found,
            alerts=receiver,
            processes=processes,
        )


@contextmanager
def _traffic(system: System, callback_url: str) -> Iterator[None]:
    """Create jobs, one in ten for a missing file, and read them, whatever the responses are."""
    stopped = threading.Event()

    def send() -> None:
        number = 0
        while not stopped.wait(0.3):
            number += 1
            files = [MISSING_ID] if number % 100 == 1 else [SMALL[0].file_id, SMALL[1].file_id]
            body = {"file_ids": files, "callbackUrl": callback_url}
            headers = {"X-User-Id": f"user-{uuid.uuid4().hex[:8]}"}
            with suppress(httpx.HTTPError):
                url = f"{system.base_url}/v1/download"
                httpx.post(f"{url}/initiate", json=body, headers=headers, timeout=3)
                with httpx.stream("GET", f"{url}/jobs", headers=headers, timeout=3):
                    pass

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(10)


def test_every_query_of_the_dashboard_returns_series(watched: Watched) -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [
        (panel["title"], target["expr"].replace("$__rate_interval", "1m"))
        for panel in panels
        for target in panel.get("targets", ())
    ]
    assert len(queries) > 40
    missing: list[str] = []

    def all_found() -> bool:
        missing[:] = [
            f"{title}: {expression}"
            for title, expression in queries
            if not watched.monitoring.query(expression) and not may_be_empty(expression)
        ]
        return not missing

    job = httpx.post(
        f"{watched.system.base_url}/v1/download/initiate",
        json={"file_ids": [SMALL[0].file_id, SMALL[2].file_id]},
        headers={"X-User-Id": "watcher"},
        timeout=10,
    ).json()
    with httpx.stream(
        "GET",
        f"{watched.system.base_url}/v1/download/subscribe/{job['jobId']}",
        headers={"X-User-Id": "watcher"},
        timeout=10,
    ):
        with suppress(TimeoutError):
            wait_until(all_found, "queries", 60)
        assert missing == []


def may_be_empty(expression: str) -> bool:
    return any(part in expression for part in MAY_BE_EMPTY)


def stop(name: str) -> Callable[[Watched], Callable[[], object]]:
    def outage(watched: Watched) -> Callable[[], object]:
        system = watched.system
        component = system.workers[0] if name == "worker" else name
        system.stop_component(component)
        return lambda: system.start_component(component)

    return outage


def stop_second_api(watched: Watched) -> Callable[[], object]:
    watched.processes["second API"].stop()

    def start() -> None:
        watched.processes["second API"] = watched.second_api.start()

    return start


def hang_storage(watched: Watched) -> Callable[[], object]:
    process = watched.system.processes["s3"]
    process.signal(signal.SIGSTOP)
    return lambda: process.signal(signal.SIGCONT)


def configure_valkey(name: str, value: str) -> Callable[[Watched], Callable[[], object]]:
    def outage(watched: Watched) -> Callable[[], object]:
        redis = Redis.from_url(watched.system.redis_url, decode_responses=True)
        before = str(redis.config_get(name)[name])
        redis.config_set(name, value)
        return lambda: redis.config_set(name, before)

    return outage


@pytest.mark.parametrize(
    ("outage", "alert"),
    [
        pytest.param(stop("s3"), "LonghaulStorageDown", id="S3 is dead"),
        pytest.param(hang_storage, "LonghaulStorageDown", id="S3 hangs"),
        pytest.param(stop("postgres"), "LonghaulHistoryDown", id="PostgreSQL is dead"),
        pytest.param(stop_second_api, "LonghaulApiProcessDown", id="one of two APIs is dead"),
        pytest.param(stop("worker"), "LonghaulNoWorkers", id="no workers"),
        pytest.param(
            configure_valkey("min-replicas-to-write", "1"),
            "LonghaulJobStoreReadOnly",
            id="Valkey is read-only",
        ),
        pytest.param(
            configure_valkey("maxmemory", "1mb"), "LonghaulJobStoreReadOnly", id="Valkey is full"
        ),
        pytest.param(stop("valkey"), "LonghaulJobStoreDown", id="Valkey is dead"),
    ],
)
def test_an_outage_leads_to_exactly_the_right_alert(
    watched: Watched, outage: Callable[[Watched], Callable[[], object]], alert: str
) -> None:
    wait_until(lambda: not watched.monitoring.alerts(), "the absence of alerts", 90)
    watched.alerts.posts.clear()
    end = outage(watched)
    try:
        wait_until(lambda: bool(watched.monitoring.alerts()), alert, 60)
        calm_until = time.monotonic() + CALM
        while time.monotonic() < calm_until:
            assert watched.monitoring.alerts() == {alert}
            time.sleep(0.2)
        wait_until(lambda: alert in _sent(watched), f"a message about {alert}", 30)
    finally:
        end()
    assert _sent(watched) == {alert}
    wait_until(lambda: not watched.monitoring.alerts(), f"the end of {alert}", 90)


def _sent(watched: Watched) -> set[str]:
    """Return the alerts that Alertmanager has posted."""
    return {
        alert["labels"]["alertname"]
        for post in list(watched.alerts.posts)
        if post.path == "/alerts"
        for alert in json.loads(post.body)["alerts"]
        if alert["status"] == "firing"
    } - IGNORED
