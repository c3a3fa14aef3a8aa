"""``make up``: runs the whole system until Ctrl-C or SIGTERM.

Environment variables: PORT of the API (default 8080), WORKERS, the number of worker processes (1),
STATE_DIR, the directory for all data (.state). API and workers get all other settings.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

import jwt
from botocore.exceptions import BotoCoreError, ClientError

from stack.process import ComponentDied, accepts_connections
from stack.system import StateInUse, System

#: Seconds between two checks that every component still runs.
CHECK_INTERVAL = 0.25

#: See ``System``: the API responds before archives are built.
WORKER_NICE = 5

#: Seconds that the token in the sign-in link is valid.
DEMO_TOKEN_VALIDITY = 12 * 3600

#: Generated at each start, unless the environment sets them.
SECRETS = ("TICKET_SECRET", "WEBHOOK_SECRET", "ADMIN_TOKEN")

_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(Exception):
    """Ctrl-C, SIGTERM, or the terminal closed."""


def main() -> int:
    """Run the system. Return 0 if it was stopped on request and 1 if something failed."""
    port = int(os.environ.get("PORT") or 8080)
    if accepts_connections(port):
        say(f"port {port} is in use; set PORT to another one")
        return 1
    system = System(
        Path(os.environ.get("STATE_DIR") or ".state"),
        port=port,
        workers=int(os.environ.get("WORKERS") or 1),
        worker_nice=WORKER_NICE,
        env={name: os.environ[name] for name in SECRETS if os.environ.get(name)},
        output=sys.stdout,
        report=say,
    )
    stop_requested = stop_on_signals()
    started = time.monotonic()
    try:
        with system:
            say(f"ready after {time.monotonic() - started:.1f} s: {system.base_url}")
            say(f"operator page: {system.operator_page}")
            if link := sign_in_link(system.base_url):
                say(f"sign in as demo: {link}")
            while not stop_requested.wait(CHECK_INTERVAL):
                system.check()
    except StopRequested:
        pass
    except (ComponentDied, StateInUse, OSError, BotoCoreError, ClientError) as failure:
        say(f"stopped because of an error: {failure}")
        return 1
    say("stopped")
    return 0


def sign_in_link(base_url: str) -> str | None:
    """Return a link to the page with a token of the user demo, or None without AUTH_MODE=jwt."""
    secret = os.environ.get("JWT_SECRET")
    if os.environ.get("AUTH_MODE") != "jwt" or not secret:
        return None
    claims: dict[str, object] = {"sub": "demo", "exp": int(time.time()) + DEMO_TOKEN_VALIDITY}
    for claim, setting in (("aud", "JWT_AUDIENCE"), ("iss", "JWT_ISSUER")):
        if value := os.environ.get(setting):
            claims[claim] = value
    return f"{base_url}/#token={jwt.encode(claims, secret, 'HS256')}"


def stop_on_signals() -> threading.Event:
    """Raise ``StopRequested`` at the first signal. The second one ends this process immediately.

    The process guard (stack/process_guard.py) then kills everything that still runs. The returned
    event is set too, because Python discards an exception that is raised in a finalizer.
    """
    requested = threading.Event()
    # nohup ignores SIGHUP, and shells without job control ignore SIGINT in the background.
    handled = [number for number in _STOP if signal.getsignal(number) is not signal.SIG_IGN]

    def request(_number: int, _frame: FrameType | None) -> NoReturn:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)
        requested.set()
        raise StopRequested

    for number in handled:
        signal.signal(number, request)
    return requested


def say(text: str) -> None:
    """Print a line with a prefix, like the lines of the components."""
    print(f"{'longhaul':>9} | {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
