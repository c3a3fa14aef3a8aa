"""Checks of a ZIP file with the tools that people use; each gets the number of members."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

#: Seconds for the largest archive.
TIMEOUT = 900

#: Reads a ZIP as a stream from its first local header, and verifies every checksum.
JAVA = """
import java.io.*; import java.util.zip.*;
public class Check { public static void main(String[] a) throws Exception {
  long n = 0; byte[] b = new byte[1 << 16];
  try (ZipInputStream z = new ZipInputStream(new BufferedInputStream(new FileInputStream(a[0])))) {
    while (z.getNextEntry() != null) { while (z.read(b) >= 0) {} z.closeEntry(); n++; }
  }
  System.out.println(n);
} }
"""


def require(tool: str) -> str:
    """Return the path of a program; skip the test without it."""
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} is not installed on this machine")
    return path


def run(*command: str | Path) -> str:
    """Run a command that must succeed, and return its output."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False
    )
    output = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, output[-2000:]
    return output


def shell(line: str, path: Path) -> str:
    """Run a line of shell, in which ``$0`` is the path."""
    return run("sh", "-c", line, path)


def unzip(path: Path, count: int) -> None:
    run(require("unzip"), "-tqq", path)
    assert len(run(require("unzip"), "-Z1", path).splitlines()) == count


def seven_zip(path: Path, count: int) -> None:
    output = run(require("7z"), "t", path)
    assert "Everything is Ok" in output
    assert count == 1 or f"Files: {count}" in output


def bsdtar_seeking(path: Path, count: int) -> None:
    assert len(run(require("bsdtar"), "-tf", path).splitlines()) == count
    assert shell('bsdtar -xOf "$0" >/dev/null', path) == ""


def bsdtar_streaming(path: Path, count: int) -> None:
    require("bsdtar")
    assert len(shell('cat "$0" | bsdtar -tf -', path).splitlines()) == count
    assert shell('cat "$0" | bsdtar -xOf - >/dev/null', path) == ""


def python(path: Path, count: int) -> None:
    with zipfile.ZipFile(path) as opened:
        assert len(opened.infolist()) == count
        assert opened.testzip() is None


def java(path: Path, count: int) -> None:
    program = path.parent / "Check.java"
    program.write_text(JAVA)
    assert run(require("java"), "-Xmx256m", program, path).strip() == str(count)


TOOLS: list[Callable[[Path, int], None]] = [
    unzip, seven_zip, bsdtar_seeking, bsdtar_streaming, python, java,
]  # fmt: skip
