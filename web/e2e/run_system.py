"""Run the whole system for the browser tests, controlled by commands on standard input.

``kill NAME``, ``stop NAME`` and ``start NAME`` control a component; after each command a line is
printed. The system ends with the input. Settings come from the environment, as for ``make up``;
``WORKERS`` is the number of workers.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from stack.system import System


def main() -> None:
    """Print the URL and the operator token when everything is ready, then run the commands."""
    with tempfile.TemporaryDirectory(prefix="longhaul-web-") as state:
        env = {name: value for name, value in os.environ.items() if name.isupper()}
        workers = int(os.environ.get("WORKERS", "1"))
        with System(Path(state), files=(), env=env, workers=workers) as system:
            print(system.base_url, system.env["ADMIN_TOKEN"], flush=True)
            for line in sys.stdin:
                verb, name = line.split()
                {
                    "kill": system.kill_component,
                    "stop": system.stop_component,
                    "start": system.start_component,
                }[verb](name)
                print("done", flush=True)


if __name__ == "__main__":
    main()
