"""What an attacker inside all limits does; ``bench.attack`` runs it against the API.

Each attack is a coroutine that goes on until it is canceled.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

#: Requests a second: the API's limit is 100, of which nginx and the harness need a few.
RATE: Final = 90
#: Below nginx's limit for one address (512).
CONNECTIONS: Final = 400


@dataclass(frozen=True, kw_only=True)
class Target:
    """What the attacker knows."""

    port: int
    #: Jobs that wait.
    job_ids: tuple[str, ...]
    #: Address of the attacker, which has limits of its own.
    attacker: str = "127.0.1.1"


Attack = Callable[[Target], Coroutine[Any, Any, None]]

#: What this process has done and got: connections, and responses by status.
seen: Counter[str] = Counter()


async def hang_up_long_polls(target: Target) -> None:
    """Send a long poll and hang up, again and again."""

    async def once(number: int) -> None:
        _, writer = await _connect(target)
        writer.write(get(f"/v1/download/status/{job(target, number)}?wait=60"))
        await asyncio.sleep(0.1)
        writer.close()

    await _at_rate(RATE, once)


async def hold_long_polls(target: Target) -> None:
    """Let as many requests wait as the limits allow, and try more."""

    async def hold(number: int) -> None:
        path = f"/v1/download/status/{job(target, number)}?wait=60"
        await send(target, get(path, f"X-User-Id: u{number}\r\n"))

    await _in_parallel(CONNECTIONS, hold, pause=1)


async def read_health(target: Target) -> None:
    """Ask for the report of the dependencies all the time."""

    async def once(number: int) -> None:
        await send(target, get(("/health", "/health/ready")[number % 2]))

    await _at_rate(RATE, once)


async def wait_during_restarts(target: Target) -> None:
    """Keep calls waiting for the end of jobs while the API's processes stop one after the other."""
    body = b'{"file_id":%d}'

    async def hold(number: int) -> None:
        request = post_json("/v1/download/start", body % (number + 1), f"X-User-Id: u{number}\r\n")
        await send(target, request)

    await _in_parallel(50, hold, pause=1)


async def send_slowly(target: Target) -> None:
    """Send a byte a second: of heads, bodies, chunk extensions, and trailers."""
    post = b"POST /v1/download/initiate HTTP/1.1\r\nHost: localhost\r\n"
    chunked = post + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    beginnings = (
        b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nA: ",
        post + b"Content-Length: 60000\r\n\r\n",
        chunked + b"1;",
        chunked + b"0\r\nA: ",
    )

    async def drip(number: int) -> None:
        reader, writer = await _connect(target)
        writer.write(beginnings[number % len(beginnings)])
        with suppress(TimeoutError):
            while not reader.at_eof():
                writer.write(b"a")
                async with asyncio.timeout(1):
                    await reader.read(1000)
        writer.close()

    await _in_parallel(CONNECTIONS, drip, pause=1)


async def fill_memory(target: Target) -> None:
    """Send as much as the server takes, in every form, and read nothing."""
    waiting = get(f"/v1/download/status/{target.job_ids[0]}?wait=60")
    post = b"POST /v1/download/initiate HTTP/1.1\r\nHost: localhost\r\n"
    chunked = post + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    head = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
    forms = (
        waiting + get("/health/live") * 20_000,
        post + b"Content-Length: 10000000\r\n\r\n" + b"a" * 1_000_000,
        chunked + b"1\r\na\r\n" * 200_000,
        head + b"".join(b"A%d: b\r\n" % number for number in range(90)) + b"\r\n",
        head + b"A" * 16_000 + b": b\r\n\r\n",
        head + b"A: " + b"b" * 1_000_000,
        chunked + b"0\r\n" + b"A: b\r\n" * 100_000,
    )

    async def flood(number: int) -> None:
        _, writer = await _connect(target)
        writer.write(forms[number % len(forms)])
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                await writer.drain()
        await asyncio.sleep(5)
        writer.transport.abort()

    await _in_parallel(300, flood, pause=1)


async def take_descriptors(target: Target) -> None:
    """Open streams without reading them, and request job lists with selective filters."""

    async def stream(number: int) -> None:
        _, writer = await _connect(target)
        path = f"/v1/download/subscribe/{job(target, number)}"
        writer.write(get(path, f"X-User-Id: u{number}\r\n"))
        await asyncio.sleep(20)
        writer.transport.abort()

    async def search(_number: int) -> None:
        path = "/v1/download/jobs?status=failed&limit=1"
        await send(target, get(path, "X-User-Id: bench\r\n"))

    streams = asyncio.create_task(_in_parallel(250, stream, pause=5))
    try:
        await _at_rate(RATE - 15, search)
    finally:
        streams.cancel()


async def flood_web_sockets(target: Target) -> None:
    """Send many empty frames, which cost more time to read than to send."""
    frames = b"\x8a\x80abcd" * 10_000
    handshake = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    )

    async def flood(number: int) -> None:
        reader, writer = await _connect(target)
        path = f"/v1/download/subscribe/{job(target, number)}"
        writer.write(get(path, f"X-User-Id: u{number}\r\n{handshake}"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frames)
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await reader.read()
        writer.transport.abort()

    await _at_rate(RATE / 2, flood)


async def stay_idle(target: Target) -> None:
    """Open connections and send nothing, or one request and then nothing."""

    async def idle(number: int) -> None:
        _, writer = await _connect(target)
        if number % 2:
            writer.write(get("/health/live"))
        await asyncio.sleep(60)
        writer.close()

    await _in_parallel(CONNECTIONS, idle, pause=1)


async def read_nothing(target: Target) -> None:
    """Ask for a large response and read none of it, as a client whose buffers are small."""

    async def hold(_number: int) -> None:
        client = socket.socket()
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        client.bind((target.attacker, 0))
        loop = asyncio.get_running_loop()
        with client:
            await loop.sock_connect(client, ("127.0.0.1", target.port))
            seen["connections"] += 1
            await loop.sock_sendall(client, get("/docs/swagger-ui-bundle.js"))
            await asyncio.sleep(60)

    await _in_parallel(CONNECTIONS, hold, pause=1)


async def check_many_files(target: Target) -> None:
    """Let the API look for a thousand files at once."""
    body = b'{"file_ids":[%b]}' % b",".join(b"%d" % number for number in range(1, 1_001))

    async def once(_number: int) -> None:
        await send(target, post_json("/v1/download/check", body))

    await _at_rate(RATE, once)


async def send_useless_values(target: Target) -> None:
    """Send bodies with as many unknown fields, or values in metadata, as they have room for."""
    unknown = b"{%b}" % b",".join(b'"%x":0' % number for number in range(0x1000, 0x2A00))
    metadata = b'{"file_id":1,"metadata":{"a":[%b]}}' % b",".join([b"0"] * 32_000)

    async def once(number: int) -> None:
        path = f"/v1/download/{job(target, number)}/links"
        request = (
            post_json("/v1/download/initiate", metadata) if number % 2 else post_json(path, unknown)
        )
        await send(target, request)

    await _at_rate(RATE, once)


async def list_jobs(target: Target) -> None:
    """Request the longest lists of jobs."""

    async def once(_number: int) -> None:
        await send(target, get("/v1/download/jobs?limit=100", "X-User-Id: bench\r\n"))

    await _at_rate(RATE, once)


async def read_statistics(target: Target) -> None:
    """Ask for the statistics of the queue, which the job store has to collect."""

    async def once(_number: int) -> None:
        await send(target, get("/v1/download/queue/stats"))

    await _at_rate(RATE, once)


ATTACKS: Final[dict[str, Attack]] = {
    "hang up long polls": hang_up_long_polls,
    "hold long polls": hold_long_polls,
    "read health": read_health,
    "wait during restarts": wait_during_restarts,
    "send slowly": send_slowly,
    "fill memory": fill_memory,
    "take descriptors": take_descriptors,
    "flood web sockets": flood_web_sockets,
    "stay idle": stay_idle,
    "read nothing": read_nothing,
    "check many files": check_many_files,
    "send useless values": send_useless_values,
    "list jobs": list_jobs,
    "read statistics": read_statistics,
}


def get(path: str, headers: str = "") -> bytes:
    """Return a GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode()


def post_json(path: str, body: bytes, headers: str = "") -> bytes:
    """Return a POST request with a JSON body."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def job(target: Target, number: int) -> str:
    """Return one of the target's jobs; the same for the same number."""
    return target.job_ids[number % len(target.job_ids)]


async def _connect(
    target: Target, address: str = ""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    connection = await asyncio.open_connection(
        "127.0.0.1", target.port, local_addr=(address or target.attacker, 0)
    )
    seen["connections"] += 1
    return connection


async def send(target: Target, request: bytes, address: str = "") -> int:
    """Send one request on a connection of its own and return the status.

    ``address``: of the client; by default the attacker's.
    """
    reader, writer = await _connect(target, address)
    try:
        writer.write(request)
        line = await reader.readline()
        while await reader.readline() not in (b"\r\n", b""):
            pass
        status = int(line.split()[1]) if line else 0
        seen[str(status)] += 1
        return status
    finally:
        writer.close()


async def _at_rate(rate: float, once: Callable[[int], Awaitable[None]]) -> None:
    """Start ``once`` ``rate`` times a second until cancelled."""
    async with asyncio.TaskGroup() as group:
        started = time.monotonic()
        for number in itertools.count():
            await asyncio.sleep(max(0, started + number / rate - time.monotonic()))
            group.create_task(_ignoring_errors(once(number)))


async def _in_parallel(width: int, once: Callable[[int], Awaitable[None]], *, pause: float) -> None:
    """Run ``once`` ``width`` times side by side, each again after a pause, until cancelled."""

    async def repeat(number: int) -> None:
        # Not all at the same moment: the rate of requests is limited too.
        await asyncio.sleep(number / RATE)
        while True:
            await _ignoring_errors(once(number))
            await asyncio.sleep(pause)

    async with asyncio.TaskGroup() as group:
        for number in range(width):
            group.create_task(repeat(number))


async def _ignoring_errors(attempt: Awaitable[None]) -> None:
    with suppress(OSError, ValueError, asyncio.IncompleteReadError):
        await attempt
