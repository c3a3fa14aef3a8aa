"""Proxies that give up after 5 s, and proxies that hold everything back.

The same 30 s of work, through the same impatient proxy: inside the request it dies, as a job every
transport sees it end.
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
from longhaul_client.watch import Transport, Watch
from stack.nginx import Nginx, start_nginx, start_proxy
from stack.sample_catalog import BUCKET, Sample, s3_client
from stack.sample_files import KIB
from stack.system import System
from tests.support.tcp_proxy import TcpProxy
from tests.support.websocket import messages

pytestmark = pytest.mark.timeout(200)

#: Each pair is two files of 320 KiB at 24 KiB/s, into the worker and out of it again. Each job has
#: a pair of its own: an archive that is there already is not made a second time.
FIRST, FOLLOWED = (10901, 10902), (10903, 10904)
BUFFERED, DIRECT = (10905, 10906), (10907, 10908)
RATE = 24 * KIB
#: Seconds: what nginx gives the old synchronous way, and what the work takes at the least.
READ_TIMEOUT = 5
LEAST_DURATION = 20.0


def _noise(rng: random.Random) -> bytes:
    return rng.randbytes(320 * KIB)


CATALOG = [
    Sample(
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
    """The S3 server over a slow line; the only worker has no other way to it."""
    port = urlsplit(system.s3_endpoint).port
    assert port is not None
    with TcpProxy(port) as line:
        endpoint = f"http://127.0.0.1:{line.port}"
        system.add_worker(S3_ENDPOINT_URL=endpoint)
        # A worker's first archive tries out what the storage can do, with 5 MiB over this line.
        with Longhaul(system.base_url, user="first") as longhaul:
            longhaul.wait(longhaul.start(FIRST).job_id)
        line.slow(RATE)
        yield endpoint


@pytest.fixture(scope="module")
def impatient(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    proxy = start_proxy(
        tmp_path_factory.mktemp("impatient"),
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
    """The old way behind the impatient proxy: the request returns when the archive is there."""
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
        """The proxy's answer is what counts."""


class Followed:
    """What one way of watching brought."""

    def __init__(self, statuses: list[str], duration: float) -> None:
        self.statuses = statuses
        self.duration = duration


def _follow(nginx: Nginx, job_id: str, transport: str) -> Followed:
    began = time.monotonic()
    ways = {"sse": Transport.SSE, "long poll": Transport.LONG_POLL, "poll": Transport.POLL}
    if transport == "websocket":
        statuses = list(_websocket_statuses(nginx, job_id))
    else:
        with Longhaul(nginx.url) as longhaul:
            watch = longhaul.watch(job_id, transports=[ways[transport]])
            statuses = [job.status for job in watch]
    return Followed(statuses, time.monotonic() - began)


def _websocket_statuses(nginx: Nginx, job_id: str) -> Iterator[str]:
    """Statuses in messages, over as many connections as it takes."""
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
    system: System, slow_storage: str, impatient: Nginx
) -> Iterator[dict[str, Future[Followed]]]:
    """One job, watched through the impatient proxy in every way at once."""
    with Longhaul(impatient.url, user="owner") as longhaul:
        job_id = longhaul.start(FOLLOWED).job_id
    with ThreadPoolExecutor(4) as pool:
        yield {
            transport: pool.submit(_follow, impatient, job_id, transport)
            for transport in ("sse", "websocket", "long poll", "poll")
        }


def test_thirty_seconds_of_work_inside_a_request_die_with_504(synchronous: Nginx) -> None:
    began = time.monotonic()
    answer = httpx.get(f"{synchronous.url}/download", timeout=60)
    assert answer.status_code == 504
    assert READ_TIMEOUT - 1 < time.monotonic() - began < READ_TIMEOUT + 3


@pytest.mark.parametrize("transport", ["sse", "websocket", "long poll", "poll"])
def test_the_same_work_as_a_job_is_seen_to_its_end(
    followed: dict[str, Future[Followed]], transport: str
) -> None:
    result = followed[transport].result(timeout=150)
    assert result.statuses[-1] == "completed"
    assert result.statuses.count("completed") == 1
    assert result.duration > LEAST_DURATION


def test_the_archive_is_whole(followed: dict[str, Future[Followed]], system: System) -> None:
    followed["poll"].result(timeout=150)
    with Longhaul(system.base_url, user="owner") as longhaul:
        (job,) = longhaul.jobs()
        link = longhaul.status(job.job_id).download_url
    assert link is not None
    with zipfile.ZipFile(io.BytesIO(httpx.get(link, timeout=30).content)) as archive:
        assert archive.testzip() is None
        contents = sorted(archive.read(name) for name in archive.namelist())
    assert contents == sorted(sample.make() for sample in CATALOG[2:4])


def test_behind_a_proxy_that_holds_streams_back_the_client_falls_back_in_time(
    system: System, slow_storage: str, buffering: Nginx
) -> None:
    with Longhaul(buffering.url, user="buffered") as longhaul:
        job_id = longhaul.start(BUFFERED).job_id
        began = time.monotonic()
        watch: Watch = longhaul.watch(job_id)
        seen = iter(watch)
        first = next(seen)
        # 3 s without a first event, then one exchange of the next transport.
        assert time.monotonic() - began < 5
        assert not first.finished
        assert watch.transport is not Transport.SSE
        longhaul.cancel(job_id)
        assert [job.status for job in seen][-1] == "cancelled"


def test_the_production_nginx_lets_the_first_event_through_at_once(
    system: System, slow_storage: str, tmp_path: Path
) -> None:
    nginx = start_nginx(tmp_path / "nginx", upstream=urlsplit(system.base_url).netloc)
    try:
        with Longhaul(nginx.url, user="production") as longhaul:
            job_id = longhaul.start(DIRECT).job_id
            began = time.monotonic()
            watch = longhaul.watch(job_id, transports=[Transport.SSE])
            seen = iter(watch)
            next(seen)
            assert time.monotonic() - began < 1
            longhaul.cancel(job_id)
            assert [job.status for job in seen][-1] == "cancelled"
    finally:
        nginx.process.stop(5)
