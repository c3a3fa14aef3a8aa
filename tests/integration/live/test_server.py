"""The web server under clients that hang up, trickle, pipeline or flood, and when it stops."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from redis import Redis

from common.job_store.jobs import JobStore
from common.jobs.model import Job
from stack.process import wait_until
from stack.services import Valkey
from tests.support.live_api import Api, running

LIMITS = {
    "CREATE_PER_MINUTE_USER": 1_000_000,
    "CREATE_PER_MINUTE_IP": 1_000_000,
    "REQUESTS_PER_MINUTE_IP": 1_000_000,
}
CHUNKED = b"POST /v1/download/check HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def api_with(valkey: Valkey, tmp_path: Path, **env: object) -> Iterator[Api]:
    with running(Api(valkey.url, tmp_path / "log", **LIMITS, **env)) as api:
        yield api


def connect(api: Api, timeout: float = 10) -> socket.socket:
    return socket.create_connection(("127.0.0.1", api.port), timeout)


def connect_with_small_buffers(api: Api) -> socket.socket:
    """Connect as a client far away does: the kernels keep little of a response for it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    client.connect(("127.0.0.1", api.port))
    return client


def long_poll(api: Api, job: Job, user: str = "alice") -> socket.socket:
    client = connect(api)
    client.sendall(
        f"GET /v1/download/status/{job.id}?wait=60 HTTP/1.1\r\nHost: x\r\n"
        f"X-User-Id: {user}\r\n\r\n".encode()
    )
    return client


def post_and_wait(api: Api, path: str, body: bytes, headers: bytes = b"") -> socket.socket:
    client = connect(api, 20)
    client.sendall(
        b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%bContent-Length: %d"
        b"\r\n\r\n%b" % (path.encode(), headers, len(body), body)
    )
    return client


def reset(client: socket.socket) -> None:
    """Disconnect with a reset instead of an orderly end."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def response_of(client: socket.socket) -> bytes:
    """Return the response, read until the server closes the connection or pauses."""
    received = b""
    try:
        while data := client.recv(65_536):
            received += data
            if b"\r\n\r\n" in received:
                client.settimeout(0.3)
    except TimeoutError:
        pass
    return received


def connections_of(api: Api) -> int:
    """Return the number of connections that the worker processes hold."""
    return sum(
        connection.status in ("ESTABLISHED", "CLOSE_WAIT") and connection.laddr.port == api.port
        for process in _processes(api)
        for connection in process.net_connections("tcp")
    )


def memory_of(api: Api) -> int:
    return sum(process.memory_info().rss for process in _processes(api))


def _processes(api: Api) -> list[psutil.Process]:
    master = psutil.Process(api.process.pid)
    return [master, *master.children(recursive=True)]


@pytest.mark.parametrize("hang_up", [socket.socket.close, reset])
@pytest.mark.parametrize("unread", [b"", GET])
def test_long_poll_ends_when_its_client_hangs_up(
    api: Api, new_job: Callable[[], Job], hang_up: Callable[[socket.socket], None], unread: bytes
) -> None:
    job = new_job()
    clients = [long_poll(api, job) for _ in range(50)]
    for client in clients:
        client.sendall(unread)
    wait_until(lambda: connections_of(api) >= 50, "the long polls", 5)
    time.sleep(0.3)
    for client in clients:
        hang_up(client)
    # At once; only behind a pipelined request, it takes a second until it is noticed.
    wait_until(lambda: connections_of(api) == 0, "the end of the long polls", 3)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/download/start", b""),
        ("/v1/download/initiate", b"Prefer: wait=60\r\n"),
    ],
)
def test_waiting_post_ends_when_its_client_hangs_up(api: Api, path: str, headers: bytes) -> None:
    body = b'{"file_id":5001}' if path.endswith("start") else b'{"file_ids":[5002]}'
    client = post_and_wait(api, path, body, headers)
    time.sleep(0.5)
    assert connections_of(api) == 1
    client.close()
    wait_until(lambda: connections_of(api) == 0, "the end of the request", 2)


def test_waiting_requests_are_limited(
    valkey: Valkey, tmp_path: Path, jobs: JobStore, new_job: Callable[[], Job]
) -> None:
    limits = {
        "MAX_WAITING_REQUESTS": 6,
        "MAX_WAITING_REQUESTS_PER_ADDRESS": 5,
        "MAX_WAITING_REQUESTS_PER_USER": 3,
    }
    with api_with(valkey, tmp_path, **limits) as api, ExitStack() as stack:
        job = new_job()
        for user, count in (("alice", 3), ("bob", 2)):
            for _ in range(count):
                stack.enter_context(long_poll(api, job, user))
        time.sleep(0.5)
        for user in ("alice", "carol"):
            with long_poll(api, job, user) as client:
                response = response_of(client)
            assert response.startswith(b"HTTP/1.1 429 ")
            assert b"TOO_MANY_WAITING_REQUESTS" in response
            assert b"\r\nRetry-After: " in response
        # A job that was created is never lost behind an error.
        with post_and_wait(
            api, "/v1/download/initiate", b'{"file_ids":[9]}', b"Prefer: wait=60\r\n"
        ) as client:
            assert response_of(client).startswith(b"HTTP/1.1 202 ")
        jobs.cancel(job.id)
        time.sleep(0.5)
        with long_poll(api, new_job()) as client:
            client.settimeout(0.5)
            assert response_of(client) == b""


@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [
        ("/v1/download/start", b"", b'{"file_id":6001}'),
        ("/v1/download/initiate", b"Prefer: wait=60\r\n", b'{"file_ids":[6002]}'),
    ],
)
def test_stopping_process_responds_to_calls_that_wait_for_the_end(
    valkey: Valkey, redis: Redis, tmp_path: Path, path: str, headers: bytes, body: bytes
) -> None:
    with api_with(valkey, tmp_path, REQUEST_TIMEOUT=60) as api, ExitStack() as stack:
        client = stack.enter_context(post_and_wait(api, path, body, headers))
        time.sleep(0.5)
        before = redis.info("stats")["total_commands_processed"]
        os.kill(api.process.pid, signal.SIGTERM)
        started = time.monotonic()
        response = response_of(client)
        assert time.monotonic() - started < 1.5
        assert response.startswith(b"HTTP/1.1 202 ")
        wait_until(lambda: not api.process.alive, "the end of the process", 8)
        commands = redis.info("stats")["total_commands_processed"] - before
        assert commands < 200


def test_fresh_connections_are_not_reset_while_a_process_stops(
    valkey: Valkey, tmp_path: Path
) -> None:
    for _ in range(4):
        with api_with(valkey, tmp_path) as api:
            outcomes: list[str] = []
            stop = threading.Event()
            threads = [
                threading.Thread(target=_connect_again_and_again, args=(api, outcomes, stop))
                for _ in range(3)
            ]
            for thread in threads:
                thread.start()
            time.sleep(0.5)
            os.kill(api.process.pid, signal.SIGTERM)
            time.sleep(1.0)
            stop.set()
            for thread in threads:
                thread.join()
        assert set(outcomes) <= {"200", "refused"}, outcomes


def _connect_again_and_again(api: Api, outcomes: list[str], stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            client = connect(api)
        except ConnectionError:
            # A request that was never sent can go to another process.
            outcomes.append("refused")
            time.sleep(0.01)
            continue
        with client:
            try:
                client.sendall(GET)
                outcomes.append(client.recv(65_536)[9:12].decode() or "closed")
            except OSError as error:
                outcomes.append(repr(error))


def test_process_stops_although_connections_were_reset(valkey: Valkey, tmp_path: Path) -> None:
    with api_with(valkey, tmp_path) as api:
        clients = [connect(api) for _ in range(20)]
        for client in clients:
            client.sendall(GET)
            assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
        os.kill(api.process.pid, signal.SIGTERM)
        for client in clients:
            reset(client)
        time.sleep(0.1)
    assert "Traceback" not in (tmp_path / "log").read_text()


#: What arrives at once, and the byte that follows again and again.
TRICKLES = {
    "method": (b"", b"G"),
    "header": (b"GET / HTTP/1.1\r\nHost: x\r\nA: ", b"a"),
    "body": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", b" "),
    "chunk extension": (CHUNKED + b"1;", b"a"),
    "trailer": (CHUNKED + b"0\r\nA: ", b"a"),
}


def test_request_has_one_deadline_from_its_first_byte(api: Api) -> None:
    """A byte every half second keeps no connection for longer."""
    with ExitStack() as stack:
        clients = {name: stack.enter_context(connect(api)) for name in TRICKLES}
        for name, (beginning, drip) in TRICKLES.items():
            clients[name].sendall(beginning + drip)
        ended: dict[str, tuple[float, bytes]] = {}
        started = time.monotonic()
        while len(ended) < len(TRICKLES) and time.monotonic() - started < 25:
            time.sleep(0.5)
            for name in TRICKLES.keys() - ended.keys():
                try:
                    clients[name].setblocking(False)
                    ended[name] = (time.monotonic() - started, clients[name].recv(65_536))
                except BlockingIOError:
                    clients[name].send(TRICKLES[name][1])
    assert set(ended) == set(TRICKLES)
    for name, (seconds, response) in ended.items():
        assert 18 < seconds < 23, name
        assert response.startswith(b"HTTP/1.1 408 "), name


def test_300_hostile_connections_use_little_memory(valkey: Valkey, tmp_path: Path) -> None:
    attacks = [
        # Bodies up to the limit, in chunks of all sizes.
        CHUNKED + b"1\r\na\r\n" * 10_000,
        CHUNKED + b"f000\r\n" + b"a" * 0xF000 + b"\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n" + b"a" * 65_000,
        # A head up to its limit, with names that no other client sends.
        b"GET / HTTP/1.1\r\nHost: x\r\n"
        + b"".join(b"%d%b: b\r\n" % (n, b"a" * 600) for n in range(50)),
        # Pipelined requests behind one that waits.
        b"POST /v1/download/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b'Content-Length: 15\r\n\r\n{"file_id":777}' + GET * 20_000,
    ]
    with api_with(valkey, tmp_path, REQUEST_TIMEOUT=15) as api:
        assert api.responds("/health/live")
        before = memory_of(api)
        with ExitStack() as stack:
            for number in range(300):
                client = stack.enter_context(connect(api))
                client.setblocking(False)
                with suppress(BlockingIOError):
                    client.send(attacks[number % len(attacks)])
            time.sleep(3)
            grown = memory_of(api) - before
            assert api.responds("/health/live")
        assert grown < 100_000_000
        wait_until(lambda: connections_of(api) == 0, "the end of the connections", 10)
        assert memory_of(api) - before < 50_000_000


def test_responses_that_nobody_reads_use_little_memory(valkey: Valkey, tmp_path: Path) -> None:
    with api_with(valkey, tmp_path) as api:
        assert api.responds("/docs/swagger-ui-bundle.js")
        before = memory_of(api)
        with ExitStack() as stack:
            for _ in range(300):
                client = stack.enter_context(connect_with_small_buffers(api))
                client.sendall(LARGE)
            time.sleep(3)
            assert memory_of(api) - before < 50_000_000
            assert api.responds("/health/live")


def test_head_has_no_body_where_the_request_is_rejected(api: Api) -> None:
    """RFC 9110, 9.3.2: a server must not send content in the response to HEAD."""
    for request in (
        b"HEAD /health/live HTTP/1.1\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: a~b\r\n\r\n",
    ):
        with connect(api) as client:
            client.sendall(request)
            response = response_of(client)
        assert response.startswith(b"HTTP/1.1 400 ")
        assert response.endswith(b"\r\n\r\n")


def test_head_of_a_stream_has_no_length(api: Api, new_job: Callable[[], Job]) -> None:
    """RFC 9110, 8.6: only the length that the response to GET would have."""
    with connect(api) as client:
        path = f"/v1/download/subscribe/{new_job().id}".encode()
        client.sendall(b"HEAD %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path)
        response = response_of(client)
    assert response.startswith(b"HTTP/1.1 200 ")
    assert b"content-length" not in response.lower()
    assert response.endswith(b"\r\n\r\n")


def test_streams_leave_file_descriptors_to_other_requests(
    valkey: Valkey, tmp_path: Path, new_job: Callable[[], Job]
) -> None:
    job = new_job()
    api = Api(valkey.url, tmp_path / "log", **LIMITS, MAX_STREAMS=12_000)
    api.launcher = ["prlimit", "--nofile=400:400"]
    with running(api), ExitStack() as stack:
        statuses = [stack.enter_context(api.open_stream(job.id)).status for _ in range(230)]
        assert statuses.count(200) == 200
        assert set(statuses[200:]) == {503}
        polls = [stack.enter_context(long_poll(api, job, f"user{n}")) for n in range(50)]
        assert api.responds("/health/live")
        assert len(polls) == 50


@pytest.mark.parametrize("sent", [b"", GET[:20], GET, LARGE])
def test_idle_and_slow_connections_do_not_keep_others_out(
    valkey: Valkey, tmp_path: Path, sent: bytes
) -> None:
    api = Api(valkey.url, tmp_path / "log", **LIMITS)
    # A third of them is for connections.
    api.launcher = ["prlimit", "--nofile=900:900"]
    with running(api), ExitStack() as opened:
        for _ in range(500):
            client = opened.enter_context(connect_with_small_buffers(api))
            client.sendall(sent)
        # The processor is busy for a moment.
        assert api.get("/health/live", timeout=15)[0] == 200
        for _ in range(5):
            started = time.monotonic()
            assert api.get("/health/live", timeout=5)[0] == 200
            assert time.monotonic() - started < 1
