"""What the tests of deployment files share."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def run(*command: str | Path) -> str:
    """A checker's output; its complaint is the failure's message."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def nginx_seconds(file: str, directive: str) -> int:
    """The one value that a time has in a file of nginx/."""
    text = (ROOT / "nginx" / file).read_text()
    (value,) = set(re.findall(rf"^\s*{directive} (\d+)s;", text, re.MULTILINE))
    return int(value)
