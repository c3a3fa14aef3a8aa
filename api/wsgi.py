"""What gunicorn serves: ``gunicorn api.wsgi:app``."""

from __future__ import annotations

import os

from api.app import create_app, live_updates
from common.bootstrap import connect
from common.settings import Settings

#: Seconds a call to the job store may take: a 503 has to be out within two.
PATIENCE = 1.5

services = connect(Settings.from_env(os.environ), patience=PATIENCE)
live = live_updates(services)
app = create_app(services, live=live)
