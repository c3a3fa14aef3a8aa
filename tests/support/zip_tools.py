"""Checks and unpacks ZIP files with the tools that people use."""

from __future__ import annotations

import os
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

#: Unpacks a ZIP as most Java programs do, and rejects names that lead out of the target.
JAVA_UNPACK = """
import java.nio.file.*; import java.util.zip.*;
public class Unpack { public static void main(String[] a) throws Exception {
  Path target = Path.of(a[1]).toRealPath();
  try (ZipFile z = new ZipFile(a[0])) {
    for (var e : z.stream().toList()) {
      Path path = target.resolve(e.getName()).normalize();
      if (!path.startsWith(target)) throw new Exception(e.getName());
      Files.createDirectories(path.getParent());
      try (var in = z.getInputStream(e)) { Files.copy(in, path); }
    }
  }
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
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
        # Some tools write names in the encoding of the locale.
        env={**os.environ, "LC_ALL": "C.UTF-8"},
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


#: Each gets an archive and the number of its members.
TOOLS: list[Callable[[Path, int], None]] = [
    unzip, seven_zip, bsdtar_seeking, bsdtar_streaming, python, java,
]  # fmt: skip


def unpack_by_unzip(path: Path, target: Path) -> None:
    run(require("unzip"), "-q", path, "-d", target)


def unpack_by_seven_zip(path: Path, target: Path) -> None:
    run(require("7z"), "x", f"-o{target}", path)


def unpack_by_bsdtar(path: Path, target: Path) -> None:
    run(require("bsdtar"), "-xf", path, "-C", target)


def unpack_by_python(path: Path, target: Path) -> None:
    with zipfile.ZipFile(path) as opened:
        opened.extractall(target)


def unpack_by_java(path: Path, target: Path) -> None:
    program = path.parent / "Unpack.java"
    program.write_text(JAVA_UNPACK)
    run(require("java"), "-Xmx256m", program, path, target)


#: Each gets an archive and an empty folder.
UNPACKERS: list[Callable[[Path, Path], None]] = [
    unpack_by_unzip, unpack_by_seven_zip, unpack_by_bsdtar, unpack_by_python, unpack_by_java,
]  # fmt: skip
