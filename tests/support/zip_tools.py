"""The tools that people unpack with, each as a check of a ZIP file of so many members."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

#: Seconds that a tool may take for the largest archive.
PATIENCE = 900

#: Reads a ZIP as a stream, from its local headers on, and checks every checksum.
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


def need(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} is not installed on this machine")
    return path


def run(*command: str | Path) -> str:
    """What the command says; it must succeed."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
    )
    output = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, output[-2000:]
    return output


def shell(line: str, path: Path) -> str:
    """The same for a line of shell, in which ``$0`` is the path."""
    return run("sh", "-c", line, path)


def unzip(path: Path, count: int) -> None:
    run(need("unzip"), "-tqq", path)
    assert len(run(need("unzip"), "-Z1", path).splitlines()) == count


def seven_zip(path: Path, count: int) -> None:
    output = run(need("7z"), "t", path)
    assert "Everything is Ok" in output
    assert count == 1 or f"Files: {count}" in output


def bsdtar_seeking(path: Path, count: int) -> None:
    assert len(run(need("bsdtar"), "-tf", path).splitlines()) == count
    assert shell('bsdtar -xOf "$0" >/dev/null', path) == ""


def bsdtar_streaming(path: Path, count: int) -> None:
    need("bsdtar")
    assert len(shell('cat "$0" | bsdtar -tf -', path).splitlines()) == count
    assert shell('cat "$0" | bsdtar -xOf - >/dev/null', path) == ""


def python(path: Path, count: int) -> None:
    with zipfile.ZipFile(path) as opened:
        assert len(opened.infolist()) == count
        assert opened.testzip() is None


def java(path: Path, count: int) -> None:
    program = path.parent / "Check.java"
    program.write_text(JAVA)
    assert run(need("java"), "-Xmx256m", program, path).strip() == str(count)


TOOLS: list[Callable[[Path, int], None]] = [
    unzip, seven_zip, bsdtar_seeking, bsdtar_streaming, python, java,
]  # fmt: skip
