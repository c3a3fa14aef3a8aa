"""gunicorn's configuration: ``gunicorn -c python:api.gunicorn_conf api.wsgi:app``."""

from __future__ import annotations

import gc
import os
import resource
import secrets
import tempfile
from typing import TYPE_CHECKING

from common.settings import Settings

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter

    from api.server.gevent_worker import Worker

_settings = Settings.from_env()

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.web_concurrency
worker_class = "api.server.gevent_worker.Worker"
#: Requests in progress and idle connections; live streams are none of them.
worker_connections = 2_000
backlog = 4_096
# Longer than nginx keeps a connection to us idle (30 s, nginx/http/upstream.conf): were we the one
# that closes, a POST could meet a connection that is just going away, and nobody may send it twice.
keepalive = 75
#: Seconds that requests in progress have when the server stops; streams take three of them.
graceful_timeout = 30
timeout = 30
# Nobody steers a running process by a socket; a container's file system is read-only besides.
control_socket_disable = True
# Heartbeats of the workers are written there: on a disk they may hang.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112, S108

# Each stream is a file descriptor.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (_hard, _hard))

# Every process must accept the tickets of the others.
if not _settings.ticket_secret:
    os.environ["TICKET_SECRET"] = secrets.token_urlsafe(32)


# Several processes keep their figures in files, so that any of them can tell all.
if workers > 1:
    os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="longhaul-metrics-"))


def child_exit(server: Arbiter, worker: Worker) -> None:  # noqa: ARG001  gunicorn's signature
    """What a dead process had open does not count any more."""
    if workers > 1:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def post_worker_init(worker: Worker) -> None:
    """The application is loaded: let the worker end its streams when it stops."""
    from api.wsgi import live, operator_streams

    def drain(within: float) -> None:
        operator_streams.end()
        live.drain(within)

    worker.drain = drain
    # What is loaded now stays: the collector need not look at it again with every full collection,
    # which would hold up all streams for tens of milliseconds.
    gc.collect()
    gc.freeze()


def worker_exit(server: object, worker: Worker) -> None:  # noqa: ARG001
    """Else the interpreter spends seconds on taking every object apart."""
    gc.freeze()
