"""A private RabbitMQ server, if Debian's package is installed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

from stack.process import Process, accepts_connections, free_port, wait_until

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def installed() -> bool:
    return SERVER.exists() and which("epmd") is not None


@contextmanager
def rabbitmq(directory: Path) -> Iterator[str]:
    """Run a server and yield its URL; it shares nothing with other servers on this machine."""
    port, names, distribution = free_port(), free_port(), free_port()
    config = directory / "rabbitmq.conf"
    config.write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n")
    (directory / "enabled_plugins").write_text("[].\n")
    env = {
        "HOME": str(directory),
        "ERL_EPMD_PORT": str(names),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"test-{port}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_CONFIG_FILE": str(config),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
    }
    epmd = Process("epmd", ["epmd", "-port", str(names)], env=env)
    wait_until(lambda: accepts_connections(names), "epmd")
    server = Process("rabbitmq", [str(SERVER)], env=env, output=directory / "server.log")
    try:
        wait_until(lambda: _speaks_amqp(port), "RabbitMQ", timeout=150)
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        server.kill()
        epmd.kill()


def _speaks_amqp(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
            probe.sendall(b"AMQP\0\0\x09\x01")
            return bool(probe.recv(1))
    except OSError:
        return False
