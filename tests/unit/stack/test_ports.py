"""Processes that start servers at the same time get different ports."""

from __future__ import annotations

import subprocess
import sys

PICK = "from stack.process import free_port\nprint(*(free_port() for _ in range(100)))"


def test_no_port_is_assigned_twice() -> None:
    pickers = [
        subprocess.Popen([sys.executable, "-c", PICK], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    ports = [port for picker in pickers for port in picker.communicate(timeout=30)[0].split()]
    assert len(ports) == 400
    assert len(set(ports)) == 400
