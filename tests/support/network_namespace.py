"""Runs a command in a network namespace from which it can reach only one TCP port.

    python -m tests.support.network_namespace PORT COMMAND…

The command reaches ``127.0.0.1:PORT`` of this machine and nothing else, like a client behind a
firewall. Requires Linux, and root or user namespaces.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_COMMAND = (sys.executable, "-m", "tests.support.network_namespace")
CHUNK = 256 * 1024
#: See netdevice(7).
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def isolated(port: int) -> list[str]:
    """Return the beginning of a command that reaches only ``port``; skip the test without it."""
    if subprocess.run([*_unshare(), "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not allow network namespaces (unshare --net)")
    return [*_COMMAND, str(port)]


def _unshare() -> list[str]:
    return ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]


async def _run_outside(port: int, command: list[str]) -> int:
    """Start the command inside the namespace, and forward its connections to the port."""
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/socket"
        server = await asyncio.start_unix_server(
            _relay(lambda: asyncio.open_connection("127.0.0.1", port)), path
        )
        async with server:
            inside = [*_COMMAND, "--inside", path, str(port)]
            return await _run([*_unshare(), *inside, *command])


async def _run_inside(path: str, port: int, command: list[str]) -> int:
    """Listen on the port inside the namespace, and forward connections to the outside."""
    with socket.socket() as any_socket:
        request = struct.pack("16sh", b"lo", IFF_UP)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)
    relay = _relay(lambda: asyncio.open_unix_connection(path))
    async with await asyncio.start_server(relay, "127.0.0.1", port):
        return await _run(command)


async def _run(command: list[str]) -> int:
    # Browsers are controlled over the file descriptors 3 and 4.
    process = await asyncio.create_subprocess_exec(*command, close_fds=False)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, process.terminate)
    return await process.wait()


def _relay(
    connect: Callable[[], Awaitable[Streams]],
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            other_reader, other_writer = await connect()
            await asyncio.gather(_copy(reader, other_writer), _copy(other_reader, writer))

    return relay


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()


def main(arguments: list[str]) -> int:
    """Run the command; return its exit code."""
    if arguments[0] == "--inside":
        _, path, port, *command = arguments
        return asyncio.run(_run_inside(path, int(port), command))
    port, *command = arguments
    return asyncio.run(_run_outside(int(port), command))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
