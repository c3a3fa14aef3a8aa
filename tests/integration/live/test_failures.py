"""Streams when the job store, the server or the client fails."""

from __future__ import annotations

import ctypes
import select
import signal
import socket
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from common.job_store.client import open_client
from common.job_store.jobs import JobStore
from common.jobs.model import Artifact, Job, Progress
from stack.services import Valkey, start_valkey
from tests.integration.live.conftest import make_job, store
from tests.support.live_api import Api, EventStream, WebSocketClient, running

ARTIFACT = Artifact(bucket="b", key="k", name="a.zip", size=1, content_type="application/zip")


def restart(server: Valkey, directory: Path) -> Valkey:
    server.process.kill()
    return start_valkey(directory / "valkey", port=server.port)


def test_stream_survives_a_restart_of_the_job_store_and_gets_the_changes_meanwhile(
    own_valkey: Valkey, tmp_path: Path
) -> None:
    api = Api(own_valkey.url, tmp_path / "log", HEARTBEAT_INTERVAL=1)
    with running(api):
        jobs = store(open_client(own_valkey.url, timeout=5))
        job = make_job(jobs)
        with api.open_stream(job.id) as stream, ThreadPoolExecutor(1) as pool:
            assert stream.next().name == "connected"
            poll = pool.submit(api.get, f"/v1/download/status/{job.id}?wait=20&since=1", None, 30)
            time.sleep(1.5)  # The append-only file is synced once a second.
            again = restart(own_valkey, tmp_path)
            jobs.cancel(job.id)
            names = [event.name for event in stream]
            assert names[-1] == "cancelled"
            assert poll.result()[0] == 410
        again.process.stop()


def test_streams_stay_open_while_the_job_store_is_down_and_new_ones_are_rejected(
    own_valkey: Valkey, tmp_path: Path
) -> None:
    api = Api(own_valkey.url, tmp_path / "log", HEARTBEAT_INTERVAL=1)
    with running(api):
        jobs = store(open_client(own_valkey.url, timeout=5))
        job, other = make_job(jobs), make_job(jobs)
        time.sleep(1.5)
        with api.open_stream(job.id) as stream:
            assert stream.next().name == "connected"
            own_valkey.process.kill()
            started = time.monotonic()
            status, headers, body = api.get(f"/v1/download/subscribe/{other.id}")
            assert time.monotonic() - started < 2
            assert (status, b"BACKEND_UNAVAILABLE" in body) == (503, True)
            assert int(headers["Retry-After"]) >= 1
            assert stream.socket.recv(100).startswith(b":")
            again = start_valkey(tmp_path / "valkey", port=own_valkey.port)
            store(open_client(own_valkey.url, timeout=5)).cancel(job.id)
            assert list(stream)[-1].name == "cancelled"
        again.process.stop()


def test_job_store_that_hangs_is_detected_and_disconnected(
    own_valkey: Valkey, tmp_path: Path
) -> None:
    api = Api(own_valkey.url, tmp_path / "log", HEARTBEAT_INTERVAL=1)
    with running(api):
        jobs = store(open_client(own_valkey.url, timeout=5))
        job = make_job(jobs)
        with api.open_stream(job.id) as stream:
            stream.next()
            own_valkey.process.signal(signal.SIGSTOP)
            time.sleep(6)
            started = time.monotonic()
            assert api.get(f"/v1/download/subscribe/{job.id}")[0] == 503
            assert time.monotonic() - started < 2
            own_valkey.process.signal(signal.SIGCONT)
            jobs.cancel(job.id)
            assert list(stream)[-1].name == "cancelled"


def test_deploy_closes_streams_in_time_and_no_client_misses_the_end(
    valkey: Valkey, jobs: JobStore, tmp_path: Path
) -> None:
    api = Api(valkey.url, tmp_path / "log").start()
    made = [make_job(jobs) for _ in range(60)]
    streams = [api.open_stream(job.id) for job in made for _ in range(10)]
    for stream in streams:
        assert stream.next().name == "connected"
    sockets = [WebSocketClient(api.port, job.id) for job in made[:20]]
    for client in sockets:
        next(iter(client))
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(api.get, f"/v1/download/status/{made[0].id}?wait=50&since=1", None, 60)
        time.sleep(0.3)
        started = time.monotonic()
        api.process.terminate()
        first, last = end_times(streams)
        assert poll.result()[0] == 200
        api.process.popen.wait(10)
    assert time.monotonic() - started < 5
    assert last - first > 0.8, "all clients would reconnect at the same moment"
    for client in sockets:
        assert all(message["type"] == "heartbeat" for message in client)
        assert client.close_code == 1012
        client.close()
    for job in made:
        jobs.cancel(job.id)
    with running(api):
        for job in made[:20]:
            with api.open_stream(job.id, headers={"Last-Event-ID": "1"}) as reconnected:
                assert [event.name for event in reconnected] == ["connected", "cancelled"]
    for stream in streams:
        stream.close()


def end_times(streams: list[EventStream]) -> tuple[float, float]:
    """Return when the first and the last of these streams ended; none may send anything more."""
    waiting = select.poll()
    for stream in streams:
        waiting.register(stream.socket, select.POLLIN)
    times: list[float] = []
    while len(times) < len(streams):
        for number, _ in waiting.poll(10_000):
            waiting.unregister(number)
            times.append(time.monotonic())
    for stream in streams:
        assert list(stream) == []
    return times[0], times[-1]


def test_slow_reader_needs_little_memory_and_gets_the_terminal_message(
    api: Api, jobs: JobStore, new_job: Callable[[], Job]
) -> None:
    job = new_job()
    with api.open_stream(job.id, buffer=4096, timeout=30) as stream:
        stream.next()
        claimed = jobs.claim(job.id, "w")
        assert claimed is not None
        before = resident(api)
        for percent in range(3_000):
            jobs.heartbeat(claimed.lease, {"progress": percent % 100, "worker": "w" * 200})
        jobs.complete(claimed.lease, ARTIFACT, Progress())
        assert resident(api) - before < 3_000_000
        versions = [event.version for event in stream]
    assert versions == sorted(set(versions))
    assert versions[-1] == 3_003
    assert len(versions) < 1_000


def resident(api: Api) -> int:
    """Bytes of resident memory of the API's worker."""
    parent = api.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(Path(f"/proc/{children[0]}/statm").read_text().split()[1]) * 4096


def test_stream_of_a_client_that_disconnects_is_removed_immediately(
    valkey: Valkey, jobs: JobStore, tmp_path: Path
) -> None:
    with running(Api(valkey.url, tmp_path / "log", MAX_STREAMS_PER_USER=1)) as api:
        job = make_job(jobs)
        for _ in range(5):
            with api.open_stream(job.id) as stream:
                assert stream.status == 200
                stream.next()
            time.sleep(0.1)


class SockFprog(ctypes.Structure):
    """The kernel's sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def drop_packets(connection: socket.socket) -> None:
    """Make the client's kernel drop every packet, as if the machine were switched off."""
    drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = SockFprog(1, ctypes.addressof(drop_all))
    so_attach_filter = 26
    connection.setsockopt(socket.SOL_SOCKET, so_attach_filter, bytes(program))


def test_unreachable_client_is_detected_within_two_heartbeats(
    valkey: Valkey, jobs: JobStore, tmp_path: Path
) -> None:
    env = {"HEARTBEAT_INTERVAL": 7, "MAX_STREAMS_PER_USER": 1}
    with running(Api(valkey.url, tmp_path / "log", **env)) as api:
        job = make_job(jobs)
        vanished = api.open_stream(job.id)
        vanished.next()
        drop_packets(vanished.socket)
        started = time.monotonic()
        status = 429
        while status == 429 and time.monotonic() - started < 30:
            with api.open_stream(job.id) as stream:
                status = stream.status
            time.sleep(0.5)
        assert status == 200
        assert 10 < time.monotonic() - started < 22
        vanished.close()


def test_streams_are_limited_per_user_and_per_process(
    valkey: Valkey, jobs: JobStore, tmp_path: Path
) -> None:
    env = {"MAX_STREAMS_PER_USER": 2, "MAX_STREAMS": 3}
    with running(Api(valkey.url, tmp_path / "log", **env)) as api:
        job = make_job(jobs)
        path = f"/v1/download/subscribe/{job.id}"
        open_streams = [
            api.open_stream(job.id, headers={"X-User-Id": user}) for user in ("a", "a", "b")
        ]
        assert {stream.status for stream in open_streams} == {200}
        status, headers, body = api.get(path, {"X-User-Id": "c"})
        assert (status, b"BACKEND_UNAVAILABLE" in body) == (503, True)
        assert int(headers["Retry-After"]) >= 1
        open_streams.pop().close()
        time.sleep(0.2)
        status, headers, body = api.get(path, {"X-User-Id": "a"})
        assert (status, b"TOO_MANY_STREAMS" in body) == (429, True)
        assert int(headers["Retry-After"]) >= 1
        with api.open_stream(job.id, headers={"X-User-Id": "c"}) as stream:
            assert stream.status == 200
        for stream in open_streams:
            stream.close()


def test_streams_are_limited_per_address(valkey: Valkey, jobs: JobStore, tmp_path: Path) -> None:
    env = {"MAX_STREAMS_PER_ADDRESS": 2, "TRUSTED_PROXIES": 1}
    with running(Api(valkey.url, tmp_path / "log", **env)) as api, ExitStack() as streams:
        job = make_job(jobs)
        path = f"/v1/download/subscribe/{job.id}"
        # An IPv6 client has a whole /64 network, and may name any user.
        for number in (1, 2):
            headers = {"X-Forwarded-For": f"2001:db8::{number}", "X-User-Id": f"user{number}"}
            assert streams.enter_context(api.open_stream(job.id, headers=headers)).status == 200
        for address, status in (("2001:db8::3", 429), ("2001:db8:0:1::1", 200)):
            headers = {"X-Forwarded-For": address, "X-User-Id": "user3"}
            if status == 429:
                assert api.get(path, headers)[0] == 429
            else:
                assert streams.enter_context(api.open_stream(job.id, headers=headers)).status == 200


def test_callers_without_a_user_are_limited_by_their_addresses(
    valkey: Valkey, jobs: JobStore, tmp_path: Path
) -> None:
    env = {"MAX_STREAMS_PER_USER": 1, "TRUSTED_PROXIES": 1}
    with running(Api(valkey.url, tmp_path / "log", **env)) as api, ExitStack() as streams:
        job = make_job(jobs)
        for address in ("192.0.2.1", "192.0.2.2"):
            headers = {"X-Forwarded-For": address}
            assert streams.enter_context(api.open_stream(job.id, headers=headers)).status == 200
        path = f"/v1/download/subscribe/{job.id}"
        assert api.get(path, {"X-Forwarded-For": "192.0.2.1"})[0] == 429


def test_invalid_messages_on_the_channel_are_ignored(
    api: Api, jobs: JobStore, new_job: Callable[[], Job], valkey: Valkey
) -> None:
    from common.job_store import keys

    job = new_job()
    client = open_client(valkey.url, timeout=5)
    with api.open_stream(job.id) as stream:
        stream.next()
        for garbage in ("", "not json", "[]", "{}", '{"version":"x"}', '{"version":"99"}', "\0"):
            client.publish(keys.events(job.id), garbage)
        jobs.cancel(job.id)
        names = [event.name for event in stream if event.name != "heartbeat"]
    assert names == ["cancelled"]
    client.close()


def test_pipelined_and_split_requests_get_their_responses_in_order(api: Api) -> None:
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
        # RFC 9112, 3: a target longer than any that the server parses.
        (b"GET /" + b"x" * 1_000_000, b"414"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 1_000_000, b"431"),
        (b"\0\0\0\0", b"400"),
    ],
)
def test_malformed_request_is_rejected_and_the_connection_closed(
    api: Api, request_: bytes, status: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", api.port), 5) as connection:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while data := connection.recv(65_536):
            received += data
    assert received.split()[1] == status
