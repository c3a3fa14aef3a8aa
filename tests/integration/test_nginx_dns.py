"""nginx in front of APIs whose addresses change, as containers' do when they restart."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from stack.nginx import Nginx, start_nginx
from tests.support.nginx_backend import Backend

#: An address where nothing accepts connections, like that of a removed container.
GONE = "127.0.0.2"
ALIVE = "127.0.0.1"
#: Seconds after which nginx asks for the addresses again, see nginx/http/upstream.conf.
VALID = 5.0


class DnsServer:
    """Responds to each query with the next of some lists of addresses, repeated (RFC 1035, 4.1)."""

    def __init__(self, answers: Sequence[Sequence[str]]) -> None:
        self._answers = itertools.cycle(answers)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(512)
            addresses = next(self._answers)
            question = query[12 : query.index(b"\0", 12) + 5]
            header = query[:2] + b"\x81\x80\0\1\0" + bytes([len(addresses)]) + b"\0\0\0\0"
            records = b"".join(
                b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(address) for address in addresses
            )
            self._socket.sendto(header + question + records, client)


@pytest.fixture
def gone(backend: Backend) -> Iterator[None]:
    """Let connections to the API's port at ``GONE`` neither succeed nor fail."""
    port = backend.server_address[1]
    with socket.socket() as listener:
        listener.bind((GONE, port))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex((GONE, port))
        yield
        for connection in waiting:
            connection.close()


@pytest.fixture
def nginx(tmp_path: Path, backend: Backend, gone: None) -> Iterator[Nginx]:
    dns = DnsServer([[GONE, ALIVE], [ALIVE]])
    found = start_nginx(
        tmp_path,
        upstream=f"api.test:{backend.server_address[1]}",
        settings={"RESOLVER": dns.address},
        output=tmp_path / "nginx.log",
    )
    yield found
    found.process.stop(5)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_call_is_refused_when_addresses_change_while_nginx_connects(
    nginx: Nginx, method: str
) -> None:
    end = time.monotonic() + 2.5 * VALID
    path = "/v1/download/status/abc" if method == "GET" else "/v1/download/initiate"
    durations: list[float] = []

    def call_on(_: int) -> None:
        with httpx.Client(base_url=nginx.url, timeout=10) as http:
            while (began := time.monotonic()) < end:
                response = http.request(method, path, content=b"{}" if method == "POST" else None)
                assert response.status_code == 200, response.text
                durations.append(time.monotonic() - began)
                time.sleep(0.3)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call_on, range(4)))
    # Some were sent to the address that is gone first.
    assert max(durations) > 1.5
