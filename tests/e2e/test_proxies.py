"""Proxies with a timeout of 5 s, and proxies that buffer streams.

The same 30 s of work behind the same proxy: inside a request it ends with a 504; as a job every
transport follows it to its end.
"""

from __future__ import annotations

import io
import json
import random
import socketserver
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import httpx
import pytest

from longhaul_client import Longhaul
from longhaul_client.watch import Watch, WatchTransport
from stack.nginx import Nginx, start_nginx, start_proxy
from stack.sample_catalog import BUCKET, SampleFile, s3_client
from stack.sample_files import KIB
from stack.system import System
from tests.support.tcp_proxy import TcpProxy
from tests.support.websocket import messages

pytestmark = pytest.mark.timeout(200)

#: Each pair is two files of 320 KiB, which a worker reads and writes at 24 KiB/s. Each job has its
#: own pair, because an existing archive would be reused.
FIRST, FOLLOWED = (10901, 10902), (10903, 10904)
BUFFERED, DIRECT = (10905, 10906), (10907, 10908)
RATE = 24 * KIB
#: Seconds: the timeout of nginx, and the minimum duration of the work.
READ_TIMEOUT = 5
MIN_DURATION = 20.0


def _noise(rng: random.Random) -> bytes:
    return rng.randbytes(320 * KIB)


CATALOG = [
    SampleFile(
        file_id=number, name=f"{number}.bin", content_type="application/octet-stream", recipe=_noise
    )
    for number in (*FIRST, *FOLLOWED, *BUFFERED, *DIRECT)
]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("proxies"), workers=0, files=CATALOG) as running:
        yield running


@pytest.fixture(scope="module")
def slow_storage(system: System) -> Iterator[str]:
    """The only worker's connection to the S3 server, slowed down by a proxy."""
    port = urlsplit(system.s3_endpoint).port
    assert port is not None
    with TcpProxy(port) as s3_proxy:
        endpoint = f"http://127.0.0.1:{s3_proxy.port}"
        system.add_worker(S3_ENDPOINT_URL=endpoint)
        # Before its first archive a worker probes the object storage with 5 MiB.
        with Longhaul(system.base_url, user="first") as longhaul:
            longhaul.wait(longhaul.start(FIRST).job_id)
        s3_proxy.slow(RATE)
        yield endpoint


@pytest.fixture(scope="module")
def short_timeout_nginx(
    system: System, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nginx]:
    proxy = start_proxy(
        tmp_path_factory.mktemp("short_timeout_nginx"),
        upstream=urlsplit(system.base_url).netloc,
        directives=f"proxy_read_timeout {READ_TIMEOUT}s;",
    )
    yield proxy
    proxy.process.stop(5)


@pytest.fixture
def buffering(system: System, tmp_path: Path) -> Iterator[Nginx]:
    proxy = start_proxy(
        tmp_path / "buffering",
        upstream=urlsplit(system.base_url).netloc,
        directives="""
            proxy_ignore_headers X-Accel-Buffering;
            proxy_buffering on;
            proxy_buffer_size 64k;
            proxy_buffers 8 64k;
        """,
    )
    yield proxy
    proxy.process.stop(5)


@pytest.fixture
def synchronous(slow_storage: str, tmp_path: Path) -> Iterator[Nginx]:
    """A synchronous API behind a proxy with a short timeout: it responds with the archive."""
    storage = s3_client(slow_storage)

    def download(environ: dict[str, object], respond: Callable[..., object]) -> Iterable[bytes]:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as packed:
            for file_id in FOLLOWED:
                body = storage.get_object(Bucket=BUCKET, Key=str(file_id))["Body"].read()
                packed.writestr(f"{file_id}.bin", body)
        respond("200 OK", [("Content-Type", "application/zip")])
        return [archive.getvalue()]

    with make_server("127.0.0.1", 0, download, _ThreadingServer, _QuietHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = start_proxy(
            tmp_path / "synchronous",
            upstream=f"127.0.0.1:{server.server_port}",
            directives=f"proxy_read_timeout {READ_TIMEOUT}s;",
        )
        yield proxy
        proxy.process.stop(5)
        server.shutdown()


class _ThreadingServer(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing."""


class FollowedJob:
    """The statuses that a transport reported, and how long it took."""

    def __init__(self, statuses: list[str], duration: float) -> None:
        self.statuses = statuses
        self.duration = duration


def _follow(nginx: Nginx, job_id: str, transport: str) -> FollowedJob:
    began = time.monotonic()
    if transport == "websocket":
        statuses = list(_websocket_statuses(nginx, job_id))
    else:
        with Longhaul(nginx.url) as longhaul:
            watch = longhaul.watch(job_id, transports=[WatchTransport(transport)])
            statuses = [job.status for job in watch]
    return FollowedJob(statuses, time.monotonic() - began)


def _websocket_statuses(nginx: Nginx, job_id: str) -> Iterator[str]:
    """Yield the statuses in WebSocket messages; reconnect until the job is completed."""
    url = f"{nginx.url}/v1/download/subscribe/{job_id}"
    version = 0
    while True:
        for message in messages(f"{url}?lastEventId={version}" if version else url):
            job = json.loads(message)
            version = job.get("version", version)
            if "status" in job:
                yield job["status"]
            if job.get("status") == "completed":
                return


@pytest.fixture(scope="module")
def followed(
    system: System, slow_storage: str, short_timeout_nginx: Nginx
) -> Iterator[dict[str, Future[FollowedJob]]]:
    """A job that all transports follow at the same time through the proxy with a short timeout."""
    with Longhaul(short_timeout_nginx.url, user="owner") as longhaul:
        job_id = longhaul.start(FOLLOWED).job_id
    with ThreadPoolExecutor(4) as pool:
        yield {
            transport: pool.submit(_follow, short_timeout_nginx, job_id, transport)
            for transport in ("sse", "websocket", "long poll", "poll")
        }


def test_thirty_seconds_of_work_inside_a_request_end_with_504(synchronous: Nginx) -> None:
    began = time.monotonic()
    response = httpx.get(f"{synchronous.url}/download", timeout=60)
    assert response.status_code == 504
    assert READ_TIMEOUT - 1 < time.monotonic() - began < READ_TIMEOUT + 3


@pytest.mark.parametrize("transport", ["sse", "websocket", "long poll", "poll"])
def test_every_transport_follows_the_same_work_as_a_job_to_its_end(
    followed: dict[str, Future[FollowedJob]], transport: str
) -> None:
    result = followed[transport].result(timeout=150)
    assert result.statuses[-1] == "completed"
    assert result.statuses.count("completed") == 1
    assert result.duration > MIN_DURATION


def test_the_archive_is_complete(followed: dict[str, Future[FollowedJob]], system: System) -> None:
    followed["poll"].result(timeout=150)
    with Longhaul(system.base_url, user="owner") as longhaul:
        (job,) = longhaul.jobs()
        link = longhaul.status(job.job_id).download_url
    assert link is not None
    with zipfile.ZipFile(io.BytesIO(httpx.get(link, timeout=30).content)) as archive:
        assert archive.testzip() is None
        contents = sorted(archive.read(name) for name in archive.namelist())
    assert contents == sorted(sample.make() for sample in CATALOG[2:4])


def test_the_client_falls_back_within_5_s_behind_a_proxy_that_buffers_streams(
    system: System, slow_storage: str, buffering: Nginx
) -> None:
    with Longhaul(buffering.url, user="buffered") as longhaul:
        job_id = longhaul.start(BUFFERED).job_id
        began = time.monotonic()
        watch: Watch = longhaul.watch(job_id)
        updates = iter(watch)
        first = next(updates)
        # 3 s without a first event, then one request of the next transport.
        assert time.monotonic() - began < 5
        assert not first.finished
        assert watch.transport is not WatchTransport.SSE
        longhaul.cancel(job_id)
        assert [job.status for job in updates][-1] == "cancelled"


def test_the_production_nginx_forwards_the_first_event_within_a_second(
    system: System, slow_storage: str, tmp_path: Path
) -> None:
    nginx = start_nginx(tmp_path / "nginx", upstream=urlsplit(system.base_url).netloc)
    try:
        with Longhaul(nginx.url, user="production") as longhaul:
            job_id = longhaul.start(DIRECT).job_id
            began = time.monotonic()
            watch = longhaul.watch(job_id, transports=[WatchTransport.SSE])
            updates = iter(watch)
            next(updates)
            assert time.monotonic() - began < 1
            longhaul.cancel(job_id)
            assert [job.status for job in updates][-1] == "cancelled"
    finally:
        nginx.process.stop(5)
