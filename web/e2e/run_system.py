"""The whole system for the browser tests: obeys lines on its input, and ends with it.

``kill NAME``, ``stop NAME`` and ``start NAME`` are for its parts; each is answered by a line.
Settings come by the environment, as for ``make up``; ``WORKERS`` is how many there are.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from stack.system import System


def main() -> None:
    """Say the API's address when everything is ready, then obey."""
    with tempfile.TemporaryDirectory(prefix="longhaul-web-") as state:
        env = {name: value for name, value in os.environ.items() if name.isupper()}
        workers = int(os.environ.get("WORKERS", "1"))
        with System(Path(state), files=(), env=env, workers=workers) as system:
            print(system.base_url, flush=True)
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
