"""``make up``: the whole system until Ctrl-C or SIGTERM.

PORT is where the API listens (8080), WORKERS how many worker processes there are (1), STATE_DIR
where everything is kept (.state). All other settings go through to API and workers.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from stack.process import accepts_connections
from stack.system import ComponentDied, StateInUse, System

#: Seconds between two looks at whether everything still runs.
LOOK = 0.25


#: Made anew at each start, unless they are given.
SECRETS = ("TICKET_SECRET", "WEBHOOK_SECRET")

_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(Exception):
    """Ctrl-C, SIGTERM, or the terminal was closed."""


def main() -> int:
    """Run the system; 0 when it was stopped on request, 1 when something failed."""
    port = int(os.environ.get("PORT") or 8080)
    if accepts_connections(port):
        say(f"port {port} is taken: set PORT")
        return 1
    system = System(
        Path(os.environ.get("STATE_DIR") or ".state"),
        port=port,
        workers=int(os.environ.get("WORKERS") or 1),
        env={name: os.environ[name] for name in SECRETS if os.environ.get(name)},
        output=sys.stdout,
        tell=say,
    )
    stop_on_signals()
    began = time.monotonic()
    try:
        with system:
            say(f"everything is ready after {time.monotonic() - began:.1f} s: {system.base_url}")
            while True:
                time.sleep(LOOK)
                system.check()
    except StopRequested:
        say("everything is stopped")
        return 0
    except (ComponentDied, StateInUse, OSError, BotoCoreError, ClientError) as failure:
        say(f"stopped: {failure}")
        return 1


def stop_on_signals() -> None:
    """Turn the first request to stop into ``StopRequested``; a second one ends at once.

    The guard (stack/process_guard.py) then kills whatever is still there.
    """

    def request(_number: int, _frame: FrameType | None) -> NoReturn:
        for number in _STOP:
            signal.signal(number, signal.SIG_DFL)
        raise StopRequested

    for number in _STOP:
        signal.signal(number, request)


def say(text: str) -> None:
    """One line of the supervisor itself, prefixed like those of the parts."""
    print(f"{'longhaul':>9} | {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
