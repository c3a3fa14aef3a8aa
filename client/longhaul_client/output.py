"""Where ``longhaul get`` writes the archive. Everything is checked before the job starts."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import click

from .job import Job

#: Bytes of a file name; the name of the unfinished file is 32 bytes longer, and most file systems
#: allow 255.
MAX_NAME_BYTES = 200

#: Control characters, those that change the direction of the text around them (UTR 36), and those
#: that Windows does not allow or that have a meaning there: "C:a.zip" is a file of another folder.
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069<>:"|?*]')

#: Names of devices on Windows, with any suffix.
_DEVICE = re.compile(
    r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9\xb9\xb2\xb3]) *(\.|$)", re.IGNORECASE
)


@dataclass(frozen=True)
class Output:
    """What ``--output`` names: a file, a directory, or standard output."""

    #: None: standard output.
    path: Path | None
    force: bool

    @classmethod
    def parse(cls, text: str | None, *, force: bool) -> Output:
        """Return where to write. Raise ``click.UsageError`` if that cannot work."""
        if text == "-":
            if sys.stdout.isatty():
                raise click.UsageError("-o - writes binary data: redirect standard output")
            return cls(None, force)
        path = Path(text or ".")
        is_directory = path.is_dir()
        if not is_directory and (text or "").endswith(("/", os.sep)):
            raise click.UsageError(f"the directory {path} does not exist")
        if path.exists() and not is_directory:
            if not path.is_file():
                raise click.UsageError(f"{path} is not a regular file")
            if not force:
                raise click.UsageError(f"{path} exists; --force overwrites it")
        directory = path if is_directory else path.parent
        if not directory.is_dir():
            raise click.UsageError(f"the directory {directory} does not exist")
        if not os.access(directory, os.W_OK | os.X_OK):
            raise click.UsageError(f"the directory {directory} is not writable")
        return cls(path, force)

    def target(self, job: Job) -> Path | BinaryIO:
        """Return the file for a job's archive, or standard output.

        In a directory, the file is named by the API; the name of an existing file gets a number.
        """
        if self.path is None:
            return sys.stdout.buffer
        if not self.path.is_dir():
            return self.path
        # Path(".") / name is the bare name.
        path = self.path / safe_name(job)
        return path if self.force else _unused(path)


def safe_name(job: Job) -> str:
    """Return the API's file name, made safe: visible, and without a way out of the directory.

    It is also a valid name on Windows, where the directory may be shared.
    """
    return _safe(job.file_name or "") or _safe(f"{job.job_id}.zip") or "download.zip"


def _safe(name: str) -> str:
    name = re.split(r"[/\\]", name)[-1]
    name = _NOT_IN_NAMES.sub("_", name).strip().strip(". ")
    if _DEVICE.match(name):
        name = f"_{name}"
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    ending = dot + suffix if len(suffix.encode()) <= 20 else ""
    room = MAX_NAME_BYTES - len(ending.encode())
    stem = (stem if ending or not dot else name).encode()[:room].decode(errors="ignore")
    return (stem + ending).rstrip(". ")


def _unused(path: Path) -> Path:
    number = 1
    candidate = path
    while os.path.lexists(candidate):
        number += 1
        candidate = path.with_name(f"{path.stem} ({number}){path.suffix}")
    return candidate
