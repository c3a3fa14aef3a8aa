"""PostgreSQL as the local stack starts it."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil

from stack.postgres import start_postgres
from stack.process import wait_until


def test_postgres_starts_again_while_the_killed_server_is_still_a_zombie(tmp_path: Path) -> None:
    killed = start_postgres(tmp_path)
    server = psutil.Process(killed.process.pid)
    family = server.children(recursive=True)
    server.send_signal(signal.SIGKILL)
    wait_until(lambda: server.status() == psutil.STATUS_ZOMBIE, "the zombie", 5)
    psutil.wait_procs(family, timeout=5)

    again = start_postgres(tmp_path)
    try:
        assert again.process.alive
        assert server.status() == psutil.STATUS_ZOMBIE
    finally:
        again.process.stop()
        killed.process.kill()
