"""`make demo` as someone runs it for the first time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stack.components import ROOT
from stack.demo import FILE_IDS

pytestmark = pytest.mark.timeout(180)


def demo(state: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stack.demo"],
        cwd=ROOT,
        env={**os.environ, "STATE_DIR": str(state), **env},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_the_demo_verifies_every_file_and_removes_its_data(tmp_path: Path) -> None:
    done = demo(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for file_id in FILE_IDS:
        assert f"✓ {file_id}" in done.stdout
    assert "completed  100%" in done.stdout
    assert "total" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_demo_prints_the_reason_and_the_logs_when_files_are_missing(
    tmp_path: Path,
) -> None:
    done = demo(tmp_path, SOURCE_URL_TEMPLATE="s3://files/nothing-{file_id}")
    assert done.returncode == 1
    assert "The demo failed: job " in done.stdout
    assert "FILE_NOT_FOUND" in done.stdout
    assert "last lines of the log of worker-1" in done.stdout
    assert list(tmp_path.iterdir()) == []
