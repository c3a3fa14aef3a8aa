"""Helpers for the tests of deployment files."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def run(*command: str | Path, env: Mapping[str, str] | None = None) -> str:
    """Return the output of a command; on failure its output is the assertion's message.

    ``env``: all of its environment; None: that of the tests.
    """
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def nginx_seconds(file: str, directive: str) -> int:
    """Return the value of a time directive that occurs with one value only in a file of nginx/."""
    text = (ROOT / "nginx" / file).read_text()
    (value,) = set(re.findall(rf"^\s*{directive} (\d+)s;", text, re.MULTILINE))
    return int(value)
