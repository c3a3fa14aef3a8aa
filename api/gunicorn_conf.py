"""gunicorn's configuration: ``gunicorn -c python:api.gunicorn_conf api.wsgi:app``."""

from __future__ import annotations

import gc
import os
import resource
import secrets
import tempfile
from typing import TYPE_CHECKING

from api.auth import operator_page
from common.settings import Settings

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter

    from api.server.gevent_worker import Worker

_settings = Settings.from_env()

# An IPv6 address is written in brackets, like in a URL.
_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host
bind = [f"{_host}:{_settings.port}"]
if _settings.api_metrics_port:
    bind.append(f"{_host}:{_settings.api_metrics_port}")
workers = _settings.web_concurrency
worker_class = "api.server.gevent_worker.Worker"
# Each connection and each stream needs a file descriptor.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (_hard, _hard))
#: Requests in progress and idle connections. Live streams do not count: they get what remains
#: (``available_streams``).
worker_connections = min(2_000, _hard // 3) if _hard > 0 else 2_000
backlog = 4_096
# Longer than nginx keeps an idle connection (30 s, nginx/http/upstream.conf): if this side closed
# first, nginx could send a POST on a connection that is just closing, and must not repeat it.
keepalive = 75
#: Seconds for requests in progress when the server stops; ending the streams takes three of them.
graceful_timeout = 30
timeout = 30
# Not used, and a container's file system is read-only.
control_socket_disable = True
# Workers write their heartbeats there. On a disk, a write can block.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112, S108

# Every process must accept the tickets of the others, and the same operators.
if not _settings.ticket_secret:
    os.environ["TICKET_SECRET"] = secrets.token_urlsafe(32)
_generated_token = ""
if _settings.auth_mode == "none" and not _settings.admin_token:
    os.environ["ADMIN_TOKEN"] = _generated_token = secrets.token_urlsafe(32)


# Several processes share their metrics in files, so that each can report all.
if workers > 1:
    os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="longhaul-metrics-"))


def when_ready(server: Arbiter) -> None:  # noqa: ARG001  gunicorn's signature
    """Print the generated token once, for the person who started the server."""
    if _generated_token:
        base_url = _settings.public_url.rstrip("/") or f"http://localhost:{_settings.port}"
        link = operator_page.link(base_url, _generated_token)
        print(f"ADMIN_TOKEN is not set. Operator page, until the next start: {link}", flush=True)


def child_exit(server: Arbiter, worker: Worker) -> None:  # noqa: ARG001  gunicorn's signature
    """Remove the dead process from the metrics."""
    if workers > 1:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def post_worker_init(worker: Worker) -> None:
    """Let the worker end its streams when it stops."""
    from api import metrics
    from api.wsgi import live, operator_streams

    metrics.process_started()

    def drain(duration: float) -> None:
        operator_streams.close_all()
        live.drain(duration)

    worker.drain = drain
    worker.max_body = _settings.max_body_bytes
    # Everything loaded so far stays for good. Scanning it in every full garbage collection would
    # delay all streams by tens of milliseconds.
    gc.collect()
    gc.freeze()


def worker_exit(server: object, worker: Worker) -> None:  # noqa: ARG001
    """Skip the final garbage collection, which takes seconds with many streams."""
    gc.freeze()
