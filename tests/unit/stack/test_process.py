"""Tests for child processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from stack.process import Process, wait_until

PARENT = "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"


def test_a_lower_priority_also_holds_for_children() -> None:
    process = Process("parent", [sys.executable, "-c", PARENT])
    try:
        process.lower_priority(7)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 7
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(lambda: children.read_text() != "", "the child")
        assert os.getpriority(os.PRIO_PROCESS, int(children.read_text())) == 7
        # A process without privileges may not raise it again.
        process.lower_priority(3)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 7
    finally:
        process.kill()
