"""How gunicorn serves the API: ``gunicorn -c api/gunicorn.py api.wsgi:app``."""

from __future__ import annotations

import os

from common.settings import Settings

_settings = Settings.from_env(os.environ)

bind = f"{_settings.host}:{_settings.port}"
worker_class = "gevent"
graceful_timeout = 5
# Longer than nginx keeps a connection to us idle (30 s, nginx/http/upstream.conf): were we the one
# that closes, a POST could meet a connection that is just going away, and nobody may send it twice.
keepalive = 75
# Nobody steers a running process by a socket; a container's file system is read-only besides.
control_socket_disable = True
