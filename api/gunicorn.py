"""How gunicorn serves the API: ``gunicorn -c api/gunicorn.py api.wsgi:app``."""

from __future__ import annotations

import os

from common.settings import Settings

_settings = Settings.from_env(os.environ)

bind = f"{_settings.host}:{_settings.port}"
worker_class = "gevent"
graceful_timeout = 5
# Long query strings are the API's to refuse, with a problem document.
limit_request_line = 8190
