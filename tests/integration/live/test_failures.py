"""Streams when things go wrong: the store, the server, the client."""

from __future__ import annotations

import ctypes
import select
import signal
import socket
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.job_store.client import open_client
from common.job_store.jobs import JobStore
from common.jobs.model import Artifact, Job, Progress
from stack.services import Valkey, start_valkey
from tests.integration.live.conftest import make_job, store
from tests.support.live_api import Api, Watch, WebSocketClient, running

ARTIFACT = Artifact(bucket="b", key="k", name="a.zip", size=1, content_type="application/zip")


def restart(server: Valkey, directory: Path) -> Valkey:
    server.process.kill()
    return start_valkey(directory / "valkey", port=server.port)


def test_stream_outlives_a_restart_of_the_store_and_hears_what_happened_meanwhile(
    own_valkey: Valkey, tmp_path: Path
) -> None:
    api = Api(own_valkey.url, tmp_path / "log", HEARTBEAT_INTERVAL=1)
    with running(api):
        jobs = store(open_client(own_valkey.url, timeout=5))
        job = make_job(jobs)
        with api.watch(job.id) as watch, ThreadPoolExecutor(1) as pool:
            assert watch.next().name == "connected"
            poll = pool.submit(api.get, f"/v1/download/status/{job.id}?wait=20&since=1", None, 30)
            time.sleep(1.5)  # The append-only file is synced once a second.
            again = restart(own_valkey, tmp_path)
            jobs.cancel(job.id)
            told = [event.name for event in watch]
            assert told[-1] == "cancelled"
            assert poll.result()[0] == 410
        again.process.stop()


def test_while_the_store_is_down_streams_stay_open_and_new_ones_are_refused(
    own_valkey: Valkey, tmp_path: Path
) -> None:
    api = Api(own_valkey.url, tmp_path / "log", HEARTBEAT_INTERVAL=1)
    with running(api):
        jobs = store(open_client(own_valkey.url, timeout=5))
        job, other = make_job(jobs), make_job(jobs)
        time.sleep(1.5)
        with api.watch(job.id) as watch:
            assert watch.next().name == "connected"
            own_valkey.process.kill()
            began = time.monotonic()
            status, headers, body = api.get(f"/v1/download/subscribe/{other.id}")
            assert time.monotonic() - began < 2
            assert (status, b"BACKEND_UNAVAILABLE" in body) == (503, True)
            assert int(headers["Retry-After"]) >= 1
            assert watch.socket.recv(100).startswith(b":")
            again = start_valkey(tmp_path / "valkey", port=own_valkey.port)
            store(open_client(own_valkey.url, timeout=5)).cancel(job.id)
            assert list(watch)[-1].name == "cancelled"
        again.process.stop()


def test_store_that_hangs_is_noticed_and_left(own_valkey: Valkey, tmp_path: Path) -> None:
    api = Api(own_valkey.url, tmp_path / "log", HEARTBEAT_INTERVAL=1)
    with running(api):
        jobs = store(open_client(own_valkey.url, timeout=5))
        job = make_job(jobs)
        with api.watch(job.id) as watch:
            watch.next()
            own_valkey.process.signal(signal.SIGSTOP)
            time.sleep(6)
            began = time.monotonic()
            assert api.get(f"/v1/download/subscribe/{job.id}")[0] == 503
            assert time.monotonic() - began < 2
            own_valkey.process.signal(signal.SIGCONT)
            jobs.cancel(job.id)
            assert list(watch)[-1].name == "cancelled"


def test_deploy_closes_streams_in_time_and_nobody_misses_the_end(
    valkey: Valkey, jobs: JobStore, tmp_path: Path
) -> None:
    api = Api(valkey.url, tmp_path / "log").start()
    made = [make_job(jobs) for _ in range(60)]
    watches = [api.watch(job.id) for job in made for _ in range(10)]
    for watch in watches:
        assert watch.next().name == "connected"
    sockets = [WebSocketClient(api.port, job.id) for job in made[:20]]
    for client in sockets:
        next(iter(client))
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(api.get, f"/v1/download/status/{made[0].id}?wait=50&since=1", None, 60)
        time.sleep(0.3)
        began = time.monotonic()
        api.process.terminate()
        first, last = ends_of(watches)
        assert poll.result()[0] == 200
        api.process.popen.wait(10)
    assert time.monotonic() - began < 5
    assert last - first > 0.8, "they would all come back at once"
    for client in sockets:
        assert all(message["type"] == "heartbeat" for message in client)
        assert client.close_code == 1012
        client.close()
    for job in made:
        jobs.cancel(job.id)
    with running(api):
        for job in made[:20]:
            with api.watch(job.id, headers={"Last-Event-ID": "1"}) as back:
                assert [event.name for event in back] == ["connected", "cancelled"]
    for watch in watches:
        watch.close()


def ends_of(watches: list[Watch]) -> tuple[float, float]:
    """When the first and the last of these streams ended, none of which has more to say."""
    waiting = select.poll()
    for watch in watches:
        waiting.register(watch.socket, select.POLLIN)
    times = []
    while len(times) < len(watches):
        for number, _ in waiting.poll(10_000):
            waiting.unregister(number)
            times.append(time.monotonic())
    for watch in watches:
        assert list(watch) == []
    return times[0], times[-1]


def test_slow_reader_costs_little_and_gets_the_end(
    api: Api, jobs: JobStore, new_job: Callable[[], Job]
) -> None:
    job = new_job()
    with api.watch(job.id, buffer=4096, timeout=30) as watch:
        watch.next()
        claimed = jobs.claim(job.id, "w")
        assert claimed is not None
        before = resident(api)
        for percent in range(3_000):
            jobs.heartbeat(claimed.lease, {"progress": percent % 100, "worker": "w" * 200})
        jobs.complete(claimed.lease, ARTIFACT, Progress())
        assert resident(api) - before < 3_000_000
        versions = [event.version for event in watch]
    assert versions == sorted(set(versions))
    assert versions[-1] == 3_003
    assert len(versions) < 1_000


def resident(api: Api) -> int:
    """Bytes of resident memory of the API's worker."""
    parent = api.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(Path(f"/proc/{children[0]}/statm").read_text().split()[1]) * 4096


def test_client_that_hangs_up_is_forgotten_at_once(
    valkey: Valkey, jobs: JobStore, tmp_path: Path
) -> None:
    with running(Api(valkey.url, tmp_path / "log", MAX_STREAMS_PER_USER=1)) as api:
        job = make_job(jobs)
        for _ in range(5):
            with api.watch(job.id) as watch:
                assert watch.status == 200
                watch.next()
            time.sleep(0.1)


class SockFprog(ctypes.Structure):
    """The kernel's sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def vanish(connection: socket.socket) -> None:
    """From now on the client's kernel drops every packet unseen, as if the machine were gone."""
    drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = SockFprog(1, ctypes.addressof(drop_all))
    so_attach_filter = 26
    connection.setsockopt(socket.SOL_SOCKET, so_attach_filter, bytes(program))


def test_client_that_vanishes_is_noticed_within_two_heartbeats(
    valkey: Valkey, jobs: JobStore, tmp_path: Path
) -> None:
    env = {"HEARTBEAT_INTERVAL": 7, "MAX_STREAMS_PER_USER": 1}
    with running(Api(valkey.url, tmp_path / "log", **env)) as api:
        job = make_job(jobs)
        gone = api.watch(job.id)
        gone.next()
        vanish(gone.socket)
        began = time.monotonic()
        status = 429
        while status == 429 and time.monotonic() - began < 30:
            with api.watch(job.id) as watch:
                status = watch.status
            time.sleep(0.5)
        assert status == 200
        assert 10 < time.monotonic() - began < 22
        gone.close()


def test_streams_are_bounded_per_user_and_per_process(
    valkey: Valkey, jobs: JobStore, tmp_path: Path
) -> None:
    env = {"MAX_STREAMS_PER_USER": 2, "MAX_STREAMS": 3}
    with running(Api(valkey.url, tmp_path / "log", **env)) as api:
        job = make_job(jobs)
        path = f"/v1/download/subscribe/{job.id}"
        open_ones = [api.watch(job.id, headers={"X-User-Id": user}) for user in ("a", "a", "b")]
        assert {watch.status for watch in open_ones} == {200}
        status, headers, body = api.get(path, {"X-User-Id": "c"})
        assert (status, b"BACKEND_UNAVAILABLE" in body) == (503, True)
        assert int(headers["Retry-After"]) >= 1
        open_ones.pop().close()
        time.sleep(0.2)
        status, headers, body = api.get(path, {"X-User-Id": "a"})
        assert (status, b"TOO_MANY_STREAMS" in body) == (429, True)
        assert int(headers["Retry-After"]) >= 1
        with api.watch(job.id, headers={"X-User-Id": "c"}) as watch:
            assert watch.status == 200
        for watch in open_ones:
            watch.close()


def test_garbage_on_the_channel_harms_nobody(
    api: Api, jobs: JobStore, new_job: Callable[[], Job], valkey: Valkey
) -> None:
    from common.job_store import keys

    job = new_job()
    client = open_client(valkey.url, timeout=5)
    with api.watch(job.id) as watch:
        watch.next()
        for garbage in ("", "not json", "[]", "{}", '{"version":"x"}', '{"version":"99"}', "\0"):
            client.publish(keys.events(job.id), garbage)
        jobs.cancel(job.id)
        told = [event.name for event in watch if event.name != "heartbeat"]
    assert told == ["cancelled"]
    client.close()


def test_pipelined_and_split_requests_are_answered_in_order(api: Api) -> None:
    with socket.create_connection(("127.0.0.1", api.port), 5) as connection:
        request = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Request-ID: n%d\r\n\r\n"
        data = b"".join(request % number for number in range(3))
        connection.sendall(data[:50])
        time.sleep(0.1)
        connection.sendall(data[50:])
        received = b""
        while received.count(b"HTTP/1.1 200") < 3 or not received.endswith(b"}"):
            received += connection.recv(65_536)
    places = [received.index(b"X-Request-ID: n%d" % number) for number in range(3)]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (
            b"POST /v1/download/initiate HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\nContent-Length: 9999999\r\n\r\n",
            b"413",
        ),
        (b"GET /" + b"x" * 120_000, b"431"),
        (b"\0\0\0\0", b"400"),
    ],
)
def test_what_is_no_request_is_refused_and_closed(api: Api, request_: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", api.port), 5) as connection:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while data := connection.recv(65_536):
            received += data
    assert received.split()[1] == status
